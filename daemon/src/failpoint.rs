//! Places where a test can make this process die, hang or fail; they do not exist in a release build.
//!
//! `PICKET_FAILPOINT=name=action[:n]`: at the n-th time (the first, unless said otherwise) that `name` is reached, `kill`
//! ends the process as SIGKILL does, `panic` panics, `abort` aborts, `hang` never returns.

/// This place is reached.
#[inline]
pub fn hit(_name: &str) {
    #[cfg(debug_assertions)]
    armed::hit(_name);
}

/// An inference of this job begins.
#[inline]
pub fn job(_id: &picket_core::job::JobId) {
    #[cfg(debug_assertions)]
    armed::job(_id.as_str());
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    };

    struct Point {
        name: String,
        action: String,
        left: AtomicU64,
    }

    static POINT: OnceLock<Option<Point>> = OnceLock::new();

    fn point() -> Option<&'static Point> {
        let read = || {
            let text = std::env::var("PICKET_FAILPOINT").ok()?;
            let (name, rest) = text.split_once('=')?;
            let (action, n) = rest.split_once(':').unwrap_or((rest, "1"));
            Some(Point { name: name.to_owned(), action: action.to_owned(), left: AtomicU64::new(n.parse().ok()?) })
        };
        POINT.get_or_init(read).as_ref()
    }

    pub fn hit(name: &str) {
        let Some(point) = point().filter(|point| point.name == name) else { return };
        if point.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            act(&point.action);
        }
    }

    /// `PICKET_FAILPOINT=poison=…`: a job whose id begins with `poison-<action>` does that, every time.
    pub fn job(id: &str) {
        if let Some(action) = id.strip_prefix("poison-")
            && point().is_some_and(|point| point.name == "poison")
        {
            act(action.split('-').next().unwrap_or(action));
        }
    }

    #[expect(clippy::panic, reason = "that is what was asked for")]
    fn act(action: &str) {
        match action {
            "kill" => {
                let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            }
            "panic" => panic!("a failpoint"),
            "abort" => std::process::abort(),
            "oom" => {
                // Takes memory until the limit of the process makes the allocator give up.
                let mut taken = Vec::new();
                loop {
                    taken.push(vec![1_u8; 1 << 24]);
                }
            }
            "hang" => loop {
                std::thread::park();
            },
            other => panic!("unknown failpoint action {other:?}"),
        }
    }
}
