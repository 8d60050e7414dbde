//! What a process used so far, from /proc.

/// Clock ticks per second of /proc/…/stat; 100 on every Linux that matters here.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time and peak memory of a process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) peak_rss_bytes: u64,
}

/// Reads a process's usage; none where there is no /proc or no such process.
pub(super) fn usage(pid: u32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Usage { cpu_seconds: cpu_seconds(&stat)?, peak_rss_bytes: peak_rss_bytes(&status)? })
}

/// User and system time; the name in parentheses may hold spaces and parentheses.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let after_name = stat.rsplit_once(')')?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / TICKS_PER_SECOND)
}

/// The resident memory of a process at this moment.
pub(super) fn resident_bytes(pid: u32) -> Option<u64> {
    bytes_of("VmRSS:", &std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn peak_rss_bytes(status: &str) -> Option<u64> {
    bytes_of("VmHWM:", status)
}

fn bytes_of(name: &str, status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_past_a_strange_process_name() {
        let stat = "42 (a ) b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 100 0 0";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(peak_rss_bytes("VmPeak: 9 kB\nVmHWM:\t  2048 kB\n"), Some(2_097_152));
        assert_eq!(cpu_seconds("nonsense"), None);
    }

    #[test]
    fn this_process_has_used_something() {
        assert!(usage(std::process::id()).is_none_or(|usage| usage.peak_rss_bytes > 100_000));
        assert_eq!(usage(u32::MAX), None);
    }
}
