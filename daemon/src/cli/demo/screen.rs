//! Progress: a live table on a terminal, plain lines elsewhere.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use super::score::{Line, Phase, Score};

pub struct Screen {
    /// Lines that the last table took; it is drawn over.
    drawn: usize,
    live: bool,
    /// Standard output belongs to the JSON object.
    to_stderr: bool,
    last_second: u64,
}

impl Screen {
    pub fn new(as_json: bool) -> Self {
        Self { drawn: 0, live: !as_json && std::io::stdout().is_terminal(), to_stderr: as_json, last_second: 0 }
    }

    pub fn say(&mut self, text: &str) {
        if self.to_stderr {
            eprintln!("{text}");
        } else {
            println!("{text}");
        }
    }

    pub fn show(&mut self, score: &Score, elapsed: Duration, link_open: bool, waiting: usize) {
        let all = score.line(None);
        if !self.live {
            // One line a second is enough for a log.
            if elapsed.as_secs() > self.last_second {
                self.last_second = elapsed.as_secs();
                let link = if link_open { "link up" } else { "link CUT" };
                let [p50, _] = score.latency_ms([0.5, 0.99]);
                let words = words(all);
                self.say(&format!("{:>3} s  {link:<8}  {words}  p50 {p50:.2} ms  {waiting} to ask", elapsed.as_secs()));
            }
            return;
        }
        let mut table = String::new();
        if self.drawn > 0 {
            table.push_str(&format!("\x1b[{}A", self.drawn));
        }
        let row = |name: &str, line: Line| {
            let percent =
                |part: usize| if line.answered == 0 { 0.0 } else { 100.0 * part as f64 / line.answered as f64 };
            let (local, right) = (percent(line.local), percent(line.right));
            format!("\x1b[2K  {name:<10} {:>7} {:>9} {local:>9.1} % {right:>9.1} %\n", line.sent, line.answered)
        };
        table.push_str("\x1b[2K               jobs  answered      local       right\n");
        for phase in Phase::ALL {
            table.push_str(&row(phase.name(), score.line(Some(phase))));
        }
        table.push_str(&row("together", all));
        let [p50, p99] = score.latency_ms([0.5, 0.99]);
        let link = if link_open { "up" } else { "CUT" };
        table.push_str(&format!(
            "\x1b[2K  {:>4.1} s   upstream link {link}   {waiting} to ask when it is up   latency p50 {p50:.2} ms, p99 {p99:.2} ms\n",
            elapsed.as_secs_f64()
        ));
        self.drawn = 6;
        print!("{table}");
        let _ = std::io::stdout().flush();
    }

    /// The table stays; what follows stands below it.
    pub fn done(&mut self) {
        self.drawn = 0;
        self.say("");
    }
}

fn words(line: Line) -> String {
    let percent = |part: usize| if line.answered == 0 { 0.0 } else { 100.0 * part as f64 / line.answered as f64 };
    format!(
        "{} jobs, {} answered, {:.1} % locally, {:.1} % right",
        line.sent,
        line.answered,
        percent(line.local),
        percent(line.right)
    )
}
