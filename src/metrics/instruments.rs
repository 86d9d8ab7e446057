//! Counters, gauges and histograms of plain atomics: a count costs a few nanoseconds on any thread, and takes
//! no lock.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// A value that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn inc(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A value that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn inc(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Relaxed);
    }

    pub(crate) fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// Raises the value to `n` if it is lower.
    pub fn raise(&self, n: u64) {
        self.0.fetch_max(n, Relaxed);
    }

    /// The value. It is 0 while a decrement on one thread precedes its increment on another.
    pub fn get(&self) -> u64 {
        let n = self.0.load(Relaxed);
        if n > u64::MAX / 2 { 0 } else { n }
    }
}

/// A cumulative histogram: bucket bounds and counts.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// Raw units per shown unit: 1e9 nanoseconds are a second.
    unit: f64,
    /// One bucket for each bound, and one above all bounds.
    buckets: [Counter; MAX_BOUNDS + 1],
    sum: Counter,
}

impl Histogram {
    pub(super) const fn seconds(bounds: &'static [u64]) -> Self {
        Self::new(bounds, 1e9)
    }

    pub(super) const fn counts(bounds: &'static [u64]) -> Self {
        Self::new(bounds, 1.0)
    }

    const fn new(bounds: &'static [u64], per: f64) -> Self {
        assert!(bounds.len() <= MAX_BOUNDS);
        Self { bounds, unit: per, buckets: [const { Counter::new() }; MAX_BOUNDS + 1], sum: Counter::new() }
    }

    /// Counts a value in the bucket of the lowest bound that is not below it.
    pub fn observe(&self, value: u64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[at].inc();
        self.sum.add(value);
    }

    /// Counts a duration, in nanoseconds; the export converts them into seconds.
    pub fn observe_duration(&self, time: Duration) {
        self.observe(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Returns the cumulative count of each bound, the total count, and the sum.
    pub(super) fn snapshot(&self) -> (Vec<(f64, u64)>, u64, f64) {
        let mut below = 0;
        let mut upto = Vec::with_capacity(self.bounds.len());
        for (bound, bucket) in self.bounds.iter().zip(&self.buckets) {
            below += bucket.get();
            upto.push((*bound as f64 / self.unit, below));
        }
        (upto, below + self.buckets[self.bounds.len()].get(), self.sum.get() as f64 / self.unit)
    }
}

/// Counters by word. The words are the server's own, such as reply codes, never a peer's. The number of words
/// is bounded; further words are counted together.
#[derive(Debug)]
pub struct LabelCounter {
    slots: [(OnceLock<Box<str>>, Counter); MAX_LABELS],
    others: Counter,
}

impl LabelCounter {
    pub(super) const fn new() -> Self {
        Self { slots: [const { (OnceLock::new(), Counter::new()) }; MAX_LABELS], others: Counter::new() }
    }

    /// Increments the counter of that word.
    pub fn inc(&self, word: &str) {
        let slot = self.slots.iter().find(|(name, _)| &**name.get_or_init(|| word.into()) == word);
        slot.map_or(&self.others, |(_, counter)| counter).inc();
    }

    /// All counters, in order of first use.
    pub(super) fn snapshot(&self) -> Vec<(String, u64)> {
        let named =
            self.slots.iter().map_while(|(name, counter)| Some((name.get()?.to_string(), counter.get())));
        let others = Some(self.others.get()).filter(|n| *n > 0).map(|n| ("other".to_owned(), n));
        named.chain(others).collect()
    }
}

/// From 0.1 ms, an fsync on a fast disk, to the time limit of a client.
pub(super) const TIMES: &[u64] = &[
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    10_000_000_000,
    60_000_000_000,
];

/// Numbers of messages in one batch.
pub(super) const NUMBERS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

const MAX_BOUNDS: usize = 16;
const MAX_LABELS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_at_its_bound_and_above() {
        let times = Histogram::seconds(TIMES);
        for micros in [50, 100, 101, 5_000, 100_000_000] {
            times.observe_duration(Duration::from_micros(micros));
        }
        let (upto, count, sum) = times.snapshot();
        let at = |seconds: f64| upto.iter().find(|(bound, _)| (bound - seconds).abs() < 1e-12).unwrap().1;
        assert_eq!((at(0.0001), at(0.00025), at(0.0025), at(0.005), at(60.0), count), (2, 3, 3, 4, 4, 5));
        assert!((sum - 100.005_251).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn words_without_end_take_no_room_without_end() {
        let words = LabelCounter::new();
        for n in 0..100 {
            words.inc(&format!("word {}", n % 70));
        }
        let read = words.snapshot();
        assert_eq!(read.len(), MAX_LABELS + 1);
        assert_eq!((&read[0], &read[63]), (&("word 0".into(), 2), &("word 63".into(), 1)));
        assert_eq!(read[64], ("other".into(), 6));
    }

    #[test]
    fn what_goes_down_first_is_none_and_not_very_many() {
        let gauge = Gauge::default();
        gauge.sub(1);
        assert_eq!(gauge.get(), 0);
        gauge.inc();
        gauge.inc();
        assert_eq!(gauge.get(), 1);
    }
}
