//! One line of log for a failure that goes on: said when it begins, again from time to time.

use std::time::{Duration, Instant};

/// How often a failure that stays the same is logged.
const REPEAT: Duration = Duration::from_secs(10);

/// What was said last about one thing, and when.
#[derive(Debug, Default)]
pub struct Complaint {
    said: Option<(String, Instant)>,
    unsaid: u64,
}

impl Complaint {
    /// Logs `text` as an error, unless just that has been said a short time ago.
    pub fn say(&mut self, text: &str) {
        let now = Instant::now();
        if let Some((said, when)) = &self.said
            && said == text
            && now.duration_since(*when) < REPEAT
        {
            self.unsaid += 1;
            return;
        }
        match std::mem::take(&mut self.unsaid) {
            0 => log::error!("{text}"),
            unsaid => log::error!("{text} (and {unsaid} failures that were not logged)"),
        }
        self.said = Some((text.to_owned(), now));
    }
}
