//! How much of something in how much time.

use std::time::Duration;

use tokio::time::Instant;

/// A token bucket: `per_second` on average, so many at once.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    tokens: f64,
    per_second: f64,
    size: f64,
    filled: Instant,
}

impl Bucket {
    /// A full bucket that holds `size` and regains `per_second`.
    pub fn new(size: u32, per_second: f64, now: Instant) -> Bucket {
        Bucket { tokens: f64::from(size), per_second, size: f64::from(size), filled: now }
    }
    /// Takes one; else says how long until there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.tokens) / self.per_second))
    }
    /// Takes one, on credit if need be, and says how long to take no more.
    pub fn spend(&mut self, now: Instant) -> Option<Duration> {
        self.fill(now);
        self.tokens -= 1.0;
        (self.tokens < 0.0).then(|| Duration::from_secs_f64(-self.tokens / self.per_second))
    }
    /// Whether nothing was taken lately.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= self.size
    }
    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.size);
        self.filled = now;
    }
}
