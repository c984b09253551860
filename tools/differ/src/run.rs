//! Running sequences on both sides, and what comes out of it.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::answer::{Answer, Masks};
use crate::call::{Call, Place};
use crate::generate::Scope;
use crate::kernel::Kernel;
use crate::ours::Ours;
use crate::{Side, generate, known, names, namespace};

/// Sequences in one namespace.
const RENEWED: u64 = 500;
/// The first port of a namespace's first sequence, and how far those of the next are.
const FIRST_PORT: u16 = 10_000;
const PORT_STEP: u16 = 8;
/// How long the kernel may take to be as ready as Sockeye, which needs no time, at first and when in doubt.
const PATIENCE: Duration = Duration::from_millis(2);
const LONG_PATIENCE: Duration = Duration::from_millis(40);

/// Where the two differ.
struct Difference {
    /// The place of the call in the sequence.
    at: usize,
    /// What kind it is.
    kind: String,
    ours: String,
    kernel: String,
    known: Option<&'static str>,
}

/// One kind of difference.
struct Finding {
    seed: u64,
    count: u64,
    text: String,
}

/// Compares sequence after sequence.
#[derive(Default)]
pub(crate) struct Judge {
    /// What the sequences are made of.
    scope: Scope,
    runs: u64,
    sequences: u64,
    calls: u64,
    known: BTreeMap<&'static str, u64>,
    unsure: u64,
    findings: BTreeMap<String, Finding>,
}

impl Judge {
    pub(crate) fn new(scope: Scope) -> Judge {
        Judge { scope, ..Judge::default() }
    }

    /// How many kinds of difference there are.
    pub(crate) fn kinds(&self) -> usize {
        self.findings.len()
    }

    /// Compares the sequence of a seed.
    pub(crate) fn sequence(&mut self, seed: u64) -> Result<(), Box<dyn Error>> {
        let calls = generate::sequence(seed, self.scope);
        self.sequences += 1;
        let Some(first) = self.compare(seed, &calls, PATIENCE, false)? else {
            self.calls += calls.len() as u64;
            return Ok(());
        };
        self.calls += first.at as u64 + 1;
        if let Some(reason) = first.known {
            *self.known.entry(reason).or_default() += 1;
            return Ok(());
        }
        if let Some(finding) = self.findings.get_mut(&first.kind) {
            finding.count += 1;
            return Ok(());
        }
        // Twice more, with other ports picked and more time: a difference is one that is always there.
        for _ in 0..2 {
            let again = self.compare(seed.wrapping_add(self.runs), &calls, LONG_PATIENCE, false)?;
            if again.is_none_or(|again| again.kind != first.kind) {
                self.unsure += 1;
                return Ok(());
            }
        }
        let text = self.minimised(seed, calls[..=first.at].to_vec(), &first.kind)?;
        self.findings.insert(first.kind, Finding { seed, count: 1, text });
        Ok(())
    }

    /// Makes the calls of a sequence on both sides, as far as they agree.
    fn compare(
        &mut self,
        seed: u64,
        calls: &[Call],
        patience: Duration,
        show: bool,
    ) -> Result<Option<Difference>, Box<dyn Error>> {
        if self.runs.is_multiple_of(RENEWED) && self.runs > 0 {
            namespace::renew()?;
        }
        let port = FIRST_PORT + (self.runs % RENEWED) as u16 * PORT_STEP;
        self.runs += 1;
        let (mut ours, mut kernel) = (Ours::new(seed, port), Kernel::new(port));
        for (at, call) in calls.iter().enumerate() {
            let (mut our_answer, mut kernel_answer) = (ours.answer(call), kernel.answer(call));
            if matches!(call, Call::Receive { .. }) && shows_headers(&calls[..at], call.at()) {
                // Whose numbers and checksums are each side's own.
                our_answer.bytes.clear();
                kernel_answer.bytes.clear();
            }
            let our_masks = ours.masks();
            let mut kernel_masks = kernel.masks();
            let asked = Instant::now();
            while kernel_masks != our_masks && asked.elapsed() < patience {
                std::thread::yield_now();
                kernel_masks = kernel.masks();
            }
            if show {
                println!("{call}: {our_answer}{}", spelled(&our_masks));
            }
            if our_answer != kernel_answer {
                let kind = answer_kind(call, &our_answer, &kernel_answer);
                let known = known::reason(&calls[..=at]);
                let (ours, kernel) = (our_answer.to_string(), kernel_answer.to_string());
                return Ok(Some(Difference { at, kind, ours, kernel, known }));
            }
            if let Some(place) = (0..our_masks.len()).find(|at| our_masks[*at] != kernel_masks[*at]) {
                let [ours, kernel] =
                    [our_masks, kernel_masks].map(|masks| names::bits(masks[place].unwrap_or(0)));
                let whose = if place == call.at() { "itself" } else { "another" };
                let kind = format!("{}: poll of {whose} says {ours}, not {kernel}", call.name());
                let [ours, kernel] = [ours, kernel].map(|bits| format!("poll of {place} says {bits}"));
                let known = known::reason(&calls[..=at]);
                return Ok(Some(Difference { at, kind, ours, kernel, known }));
            }
        }
        Ok(None)
    }

    /// The fewest calls found that end in the same kind of difference, with both answers.
    fn minimised(&mut self, seed: u64, mut calls: Vec<Call>, kind: &str) -> Result<String, Box<dyn Error>> {
        let mut last = None;
        let mut at = calls.len();
        while at > 0 {
            at -= 1;
            let mut fewer = calls.clone();
            fewer.remove(at);
            match self.compare(seed, &fewer, LONG_PATIENCE, false)? {
                Some(difference) if difference.kind == kind => {
                    fewer.truncate(difference.at + 1);
                    at = fewer.len().min(at + 1);
                    calls = fewer;
                    last = Some(difference);
                }
                _ => {}
            }
        }
        let last = match last {
            Some(last) => Some(last),
            None => self.compare(seed, &calls, LONG_PATIENCE, false)?,
        };
        let mut text = String::new();
        for call in &calls {
            writeln!(text, "    {call}")?;
        }
        if let Some(Difference { ours, kernel, .. }) = last {
            writeln!(text, "  Sockeye: {ours}\n  kernel:  {kernel}")?;
        }
        Ok(text)
    }

    /// Shows the calls of a sequence up to the first difference.
    pub(crate) fn show(&mut self, seed: u64) -> Result<(), Box<dyn Error>> {
        let calls = generate::sequence(seed, self.scope);
        if let Some(difference) = self.compare(seed, &calls, LONG_PATIENCE, true)? {
            println!("Sockeye: {}\nkernel:  {}", difference.ours, difference.kernel);
        }
        Ok(())
    }

    /// Tells what was found.
    pub(crate) fn print(&self, took: Duration) {
        for (kind, Finding { seed, count, text }) in &self.findings {
            println!("DIFFERENT {kind} ({count} times; --seed {seed})\n{text}");
        }
        for (reason, count) in &self.known {
            println!("{count} sequences end at a known difference: {reason}");
        }
        if self.unsure > 0 {
            println!("{} differences were not there again", self.unsure);
        }
        let Judge { sequences, calls, .. } = self;
        let seconds = took.as_secs_f64();
        println!(
            "{sequences} sequences, {calls} calls, {} kinds of difference, {seconds:.1} s",
            self.kinds()
        );
    }
}

/// Whether what the place's socket receives has headers in it.
fn shows_headers(calls: &[Call], at: Place) -> bool {
    let echo = [libc::IPPROTO_ICMP, libc::IPPROTO_ICMPV6];
    known::socket(calls, at)
        .is_some_and(|[_, kind, protocol]| kind == libc::SOCK_RAW || echo.contains(&protocol))
}

fn answer_kind(call: &Call, ours: &Answer, kernel: &Answer) -> String {
    let (name, our_result, result) = (call.name(), ours.result(), kernel.result());
    if our_result != result {
        return format!("{name}: {our_result}, not {result}");
    }
    let what = match () {
        () if ours.address != kernel.address => "another address",
        () if ours.flags != kernel.flags => "other flags",
        () if ours.result != kernel.result => "another number",
        () => "other bytes",
    };
    format!("{name}: {what}")
}

fn spelled(masks: &Masks) -> String {
    let mask = |(at, mask): (usize, &Option<i16>)| mask.map(|bits| format!("  {at}:{}", names::bits(bits)));
    masks.iter().enumerate().filter_map(mask).collect()
}
