//! What a benchmark found, as a table for people or as one JSON object a line for programs.

use serde::Serialize;

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// One benchmark beside its peer, measured in the same run.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) bench: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) peer: &'static str,
    pub(crate) peer_value: f64,
    /// Above 1: better than the peer.
    pub(crate) ratio: f64,
    /// The least ratio that we want.
    pub(crate) goal: Option<f64>,
    /// Median and 99th percentile of a message's whole way, where messages travel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p50_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99_ms: Option<f64>,
    /// What was measured, in a few words.
    pub(crate) note: String,
}

impl Row {
    pub(crate) fn new(
        bench: &'static str,
        better: Better,
        (value, unit): (f64, &'static str),
        (peer_value, peer): (f64, &'static str),
    ) -> Row {
        let ratio = match better {
            Better::Lower => peer_value / value,
            Better::Higher => value / peer_value,
        };
        Row {
            bench,
            value,
            unit,
            peer,
            peer_value,
            ratio,
            goal: None,
            p50_ms: None,
            p99_ms: None,
            note: String::new(),
        }
    }

    pub(crate) fn goal(self, goal: f64) -> Row {
        Row { goal: Some(goal), ..self }
    }

    pub(crate) fn note(self, note: impl Into<String>) -> Row {
        Row { note: note.into(), ..self }
    }

    /// Sorts the times (in milliseconds) that single messages took.
    pub(crate) fn latencies(self, mut times_ms: Vec<f64>) -> Row {
        times_ms.sort_by(f64::total_cmp);
        Row { p50_ms: percentile(&times_ms, 50), p99_ms: percentile(&times_ms, 99), ..self }
    }

    pub(crate) fn print(&self, json: bool) {
        if json {
            match serde_json::to_string(self) {
                Ok(line) => println!("{line}"),
                Err(error) => eprintln!("{}: {error}", self.bench),
            }
            return;
        }
        let goal = match self.goal {
            Some(goal) if self.ratio >= goal => format!(">= {goal:.3} met"),
            Some(goal) => format!(">= {goal:.3} MISSED"),
            None => String::new(),
        };
        println!(
            "{:<20} {:>12} {:<7} {:>12}  {:<34} {:>7.3}  {goal}",
            self.bench,
            number(self.value),
            self.unit,
            number(self.peer_value),
            self.peer,
            self.ratio
        );
        let times =
            self.p50_ms.zip(self.p99_ms).map(|(p50, p99)| format!("p50 {p50:.2} ms, p99 {p99:.2} ms"));
        for line in times.iter().chain((!self.note.is_empty()).then_some(&self.note)) {
            println!("{:<20} {line}", "");
        }
    }

    pub(crate) fn print_heading() {
        println!(
            "{:<20} {:>12} {:<7} {:>12}  {:<34} {:>7}  goal (ratio > 1: better than the peer)",
            "bench", "value", "unit", "peer's", "peer", "ratio"
        );
    }
}

fn number(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// Of sorted values; none of none.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last * percent).div_ceil(100)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_above_one_is_better_whichever_way_better_is() {
        let time = Row::new("a", Better::Lower, (2.0, "us"), (4.0, "peer"));
        let rate = Row::new("b", Better::Higher, (4.0, "1/s"), (2.0, "peer"));
        assert_eq!((time.ratio, rate.ratio), (2.0, 2.0));
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let row = Row::new("a", Better::Lower, (1.0, "ms"), (1.0, "peer"));
        let row = row.latencies((1..=100).rev().map(f64::from).collect());
        assert_eq!((row.p50_ms, row.p99_ms), (Some(51.0), Some(100.0)));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn a_json_line_has_the_documented_keys() {
        let row = Row::new("wire_bytes", Better::Lower, (2.0, "B"), (1.0, "Olm")).goal(0.1).note("n");
        let line = serde_json::to_string(&row).expect("json");
        let expected =
            r#"{"bench":"wire_bytes","value":2.0,"unit":"B","peer":"Olm","peer_value":1.0,"ratio":0.5,"#;
        assert!(line.starts_with(expected), "{line}");
    }
}
