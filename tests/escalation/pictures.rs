//! Vector pictures of what was measured.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::{budgets, promise, whole};

const SIZE: (u32, u32) = (640, 400);
const COLOURS: [RGBColor; 5] =
    [RGBColor(0, 90, 160), RGBColor(200, 80, 0), RGBColor(120, 120, 120), RGBColor(0, 130, 80), RGBColor(150, 60, 150)];

type Line<'a> = (&'a str, Vec<(f64, f64)>);

struct Picture<'a> {
    title: String,
    x: &'a str,
    y: &'a str,
    lines: Vec<Line<'a>>,
    /// Drawn as circles.
    points: Option<Line<'a>>,
    /// A horizontal line that is promised.
    level: Option<f64>,
    legend: SeriesLabelPosition,
}

impl Picture<'_> {
    fn draw(&self, path: &Path) -> Result<()> {
        self.try_draw(path).map_err(|why| anyhow!("cannot draw {}: {why}", path.display()))
    }

    fn try_draw(&self, path: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let all = || self.lines.iter().chain(&self.points).flat_map(|(_, line)| line.iter().copied());
        let most = |pick: fn((f64, f64)) -> f64| all().map(pick).fold(f64::MIN, f64::max);
        let least = all().map(|(_, y)| y).fold(f64::MAX, f64::min);
        let top = most(|(_, y)| y).max(self.level.unwrap_or(f64::MIN));
        // A curve of accuracies does not begin at nothing; one of risks does.
        let bottom = if least > 0.4 { least - 0.02 } else { 0.0 };
        let root = SVGBackend::new(path, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(&self.title, ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d(0.0..most(|(x, _)| x), bottom..top + (top - bottom) * 0.05)?;
        chart.configure_mesh().x_desc(self.x).y_desc(self.y).light_line_style(WHITE).draw()?;
        for (place, ((name, line), colour)) in self.lines.iter().zip(COLOURS).enumerate() {
            // The first may lie under another that is as good.
            let style = colour.stroke_width(if place == 0 { 4 } else { 2 });
            chart
                .draw_series(LineSeries::new(line.iter().copied(), style))?
                .label(*name)
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], style));
        }
        if let Some((name, points)) = &self.points {
            let circle = |at: &(f64, f64)| Circle::new(*at, 4, COLOURS[0].filled());
            chart
                .draw_series(points.iter().map(circle))?
                .label(*name)
                .legend(|(x, y)| Circle::new((x + 8, y), 4, COLOURS[0].filled()));
        }
        if let Some(level) = self.level {
            let end = most(|(x, _)| x);
            chart.draw_series(LineSeries::new([(0.0, level), (end, level)], BLACK.mix(0.5).stroke_width(1)))?;
        }
        chart.configure_series_labels().position(self.legend.clone()).background_style(WHITE.mix(0.8)).draw()?;
        root.present()?;
        Ok(())
    }
}

/// Of at most so many points.
fn thinned(line: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let step = line.len().div_ceil(250).max(1);
    let last = line.last().copied();
    line.into_iter().step_by(step).chain(last).collect()
}

/// Risk against coverage, and where the certificates stand.
pub fn risk(folder: &Path, name: &str, found: &promise::Found) -> Result<()> {
    let curve = found.population.curve().map(|effect| (100.0 * effect.local, 100.0 * effect.joint)).collect();
    let n = promise::SIZES.into_iter().filter(|n| found.cells.iter().any(|cell| cell.n == *n)).max().unwrap_or(300);
    let certified = found.cells.iter().filter(|cell| cell.rule == 0 && cell.n == n);
    let points: Vec<(f64, f64)> = certified.map(|cell| (100.0 * cell.local.mean(), 100.0 * cell.alpha)).collect();
    let label = format!("certified with {n} cases: mean local share, promised risk");
    Picture {
        title: format!("{name}: what answering locally risks"),
        x: "answered locally, % of requests",
        y: "local and wrong, % of requests",
        lines: vec![("true risk, surest first", thinned(curve))],
        points: Some((&label, points)),
        level: None,
        legend: SeriesLabelPosition::UpperLeft,
    }
    .draw(&folder.join(format!("risk-{name}.svg")))
}

/// Accuracy of the whole against the share of requests that the budget affords.
pub fn money(folder: &Path, name: &str, found: &budgets::Found) -> Result<()> {
    let line = |place: usize| found.curve.iter().map(|(share, all)| (100.0 * share, all[place])).collect();
    Picture {
        title: format!("{name}: what a budget buys on a normal day"),
        x: "budget, % of the day's requests",
        y: "share of right answers",
        lines: budgets::CURVES.iter().enumerate().map(|(place, name)| (*name, line(place))).collect(),
        points: None,
        level: None,
        legend: SeriesLabelPosition::LowerRight,
    }
    .draw(&folder.join(format!("money-{name}.svg")))
}

/// Certified and wrong over the days.
pub fn days(folder: &Path, name: &str, found: &whole::Found) -> Result<()> {
    let per_day = found.series.len() as f64 / found.days.len() as f64;
    // Means of four windows: single ones are mostly chance.
    let line = |column: usize| {
        let smooth = |(at, part): (usize, &[[f64; 4]])| {
            let mean = part.iter().map(|window| window[column]).sum::<f64>() / part.len() as f64;
            ((at as f64 * 4.0 + 2.0) / per_day, 100.0 * mean)
        };
        found.series.chunks(4).enumerate().map(smooth).collect()
    };
    Picture {
        title: format!("{name}: {}", found.days.join(", ")),
        x: "day",
        y: "certified and wrong, % of requests",
        lines: vec![("certificate, static", line(0)), ("Picket", line(2))],
        points: None,
        level: Some(100.0 * found.alpha),
        legend: SeriesLabelPosition::UpperLeft,
    }
    .draw(&folder.join(format!("days-{name}.svg")))
}
