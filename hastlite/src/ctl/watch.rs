//! `hastctl status --watch`: frames of how resources are, one after the other, with the progress of
//! resynchronisations. Pure: answers and the time come in, text comes out.

use super::message::{Answer, Worker};
use super::render;
use std::collections::HashMap;
use std::fmt::Write;

/// Cells of a progress bar, and how many are left of it where there is less room.
const BAR: usize = 30;
const SHORT_BAR: usize = 10;

/// Columns of the space before it.
const INDENT: usize = 8;

/// How much the newest measurement counts for the rate, of 8.
const WEIGHT: u64 = 2;

/// Where frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// A terminal, on which a frame replaces the one before.
    pub terminal: bool,
    /// Its columns.
    pub width: usize,
}

/// What has to be remembered from one frame to the next.
#[derive(Debug, Default)]
pub struct Watch {
    /// Of each resource that is being synchronised: bytes done, when, and bytes a second.
    rates: HashMap<String, Sample>,
    /// Lines of the frame before.
    lines: usize,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    done: u64,
    elapsed: u64,
    rate: u64,
}

impl Watch {
    /// The next frame.
    pub fn frame(&mut self, answers: &[Answer], screen: Screen) -> String {
        let mut text = String::from("Name\tStatus\t Role\t\tComponents\n");
        let mut seen = HashMap::new();
        for answer in answers {
            render::status_line(answer, &mut text);
            let Answer::Status(one) = answer else { continue };
            // The progress has a line of its own.
            let notes = render::notes(one);
            let notes = notes.iter().filter(|note| !note.starts_with("synchronizing"));
            for note in notes {
                // Writing to a string does not fail, here and below.
                let _ = writeln!(text, "\t{note}");
            }
            if let Some(worker) = &one.worker
                && let Some(sample) = self.sample(&one.name, worker)
            {
                let _ = writeln!(text, "\t{}", progress(worker, sample.rate, screen));
                seen.insert(one.name.clone(), sample);
            }
        }
        self.rates = seen;
        if screen.terminal { self.redraw(&text, screen.width) } else { text + "\n" }
    }

    /// What is known about the speed of a resynchronisation with what is known now.
    fn sample(&self, name: &str, worker: &Worker) -> Option<Sample> {
        let (done, elapsed) = (worker.status.sync?.done, worker.syncing);
        let average = render::rate(worker);
        // One that has begun anew has nothing to do with the one before.
        let before =
            self.rates.get(name).filter(|before| before.elapsed <= elapsed && before.done <= done);
        let Some(before) = before else { return Some(Sample { done, elapsed, rate: average }) };
        let moved = (done - before.done).saturating_mul(1000);
        let rate = match moved.checked_div(elapsed - before.elapsed) {
            None => before.rate,
            Some(now) => {
                (now.saturating_mul(WEIGHT)).saturating_add(before.rate.saturating_mul(8 - WEIGHT))
                    / 8
            }
        };
        Some(Sample { done, elapsed, rate })
    }

    /// Over the frame before: each line is cut to the width, so that it is one, and cleared behind.
    fn redraw(&mut self, text: &str, width: usize) -> String {
        let mut out = String::new();
        if self.lines > 0 {
            let _ = write!(out, "\x1b[{}F", self.lines);
        }
        self.lines = text.lines().count();
        for line in text.lines() {
            let _ = writeln!(out, "{}\x1b[K", fit(line, width));
        }
        out.push_str("\x1b[J");
        out
    }
}

/// As much of a line as has room, with tabs made spaces.
fn fit(line: &str, width: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for c in line.chars() {
        let cells = if c == '\t' { 8 - column % 8 } else { 1 };
        if column + cells > width {
            break;
        }
        column += cells;
        match c {
            '\t' => out.extend(std::iter::repeat_n(' ', cells)),
            c => out.push(c),
        }
    }
    out
}

/// `[=====>    ]  43%  1.2GB of 2.8GB from primary  110MB/s  ETA 0:15`. On a terminal the bar leaves
/// room for what stands behind it.
fn progress(worker: &Worker, rate: u64, screen: Screen) -> String {
    let Some(sync) = worker.status.sync else { return String::new() };
    let percent = render::percent(sync.done, sync.total);
    let left = sync.total.saturating_sub(sync.done);
    let eta = match left.checked_div(rate) {
        Some(seconds) => time(seconds),
        None => "-:--".to_owned(),
    };
    let figures = format!(
        " {percent:>3}%  {}B of {}B from {}  {}B/s  ETA {eta}",
        render::human(sync.done),
        render::human(sync.total),
        render::source_name(sync.source),
        render::human(rate),
    );
    let cells = if screen.terminal {
        // Two for its ends.
        let room = screen.width.saturating_sub(INDENT + figures.len() + 2);
        room.clamp(SHORT_BAR, BAR)
    } else {
        BAR
    };
    let full = percent as usize * cells / 100;
    let head = if full < cells { ">" } else { "" };
    let bar = "=".repeat(full) + head;
    format!("[{bar:<cells$}]{figures}")
}

/// `M:SS`, or `H:MM:SS`, or days.
fn time(seconds: u64) -> String {
    let (minutes, second) = (seconds / 60, seconds % 60);
    let (hours, minute) = (minutes / 60, minutes % 60);
    match hours {
        0 => format!("{minute}:{second:02}"),
        1..=99 => format!("{hours}:{minute:02}:{second:02}"),
        _ => format!("{} days", hours / 24),
    }
}

/// Whether all resources are as they should be: connected, with nothing left to be synchronised.
pub fn settled(answers: &[Answer]) -> bool {
    use crate::engine::Consistency::Consistent;
    let mut any = false;
    for answer in answers {
        let Answer::Status(one) = answer else { return false };
        let whole = one.worker.as_ref().map(|worker| &worker.status).is_some_and(|status| {
            status.connected
                && status.sync.is_none()
                && status.dirty == 0
                && !status.detached
                && status.consistency == Consistent
        });
        if !whole {
            return false;
        }
        any = true;
    }
    any
}
