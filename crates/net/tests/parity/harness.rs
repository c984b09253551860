//! Runs the cases, ends those that hang, and counts.

use crate::api::Api;
use crate::api::blocking::machine_has_ipv6;
use crate::differences::{DIFFERENCES, Difference};
use libtest_mimic::{Arguments, Failed, Trial};
use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long a case may take before it counts as hanging. Most take a millisecond.
const LIMIT: Duration = Duration::from_mins(1);

/// An implementation, and how a case is run with it.
pub(crate) trait Leg {
    type Api: Api;
    const NAME: &str;

    fn run<W: Future<Output = ()> + Send + 'static>(case: impl FnOnce(Self::Api) -> W);
}

/// All cases of all implementations.
pub(crate) struct Suite {
    /// Whether the machine has IPv6: without, the kernel's cases of it are left out.
    has_ipv6: bool,
    trials: Vec<Trial>,
    /// How many cases passed, by implementation.
    passed: Vec<(&'static str, Arc<AtomicUsize>)>,
}

impl Suite {
    pub(crate) fn new() -> Suite {
        Suite { has_ipv6: machine_has_ipv6(), trials: Vec::new(), passed: Vec::new() }
    }

    pub(crate) fn add<L: Leg, W: Future<Output = ()> + Send + 'static>(
        &mut self,
        subject: &str,
        case: &str,
        body: fn(L::Api) -> W,
    ) {
        let name = format!("{subject}::{case}");
        let passed = self.count(L::NAME);
        let is_kernel = ["std", "tokio"].contains(&L::NAME);
        let left_out = if is_kernel {
            subject == "ipv6" && !self.has_ipv6
        } else {
            DIFFERENCES.iter().any(|known| known.case == name)
        };
        let trial = Trial::test(format!("{}::{name}", L::NAME), move || {
            within_limit(move || L::run(body))?;
            passed.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        self.trials.push(trial.with_ignored_flag(left_out));
    }

    fn count(&mut self, leg: &'static str) -> Arc<AtomicUsize> {
        if let Some((_, count)) = self.passed.iter().find(|(name, _)| *name == leg) {
            return Arc::clone(count);
        }
        let count = Arc::default();
        self.passed.push((leg, Arc::clone(&count)));
        count
    }

    /// Runs what the command line asks for, prints how many cases passed, and ends the process.
    pub(crate) fn run(self) -> ! {
        let arguments = Arguments::from_args();
        let conclusion = libtest_mimic::run(&arguments, self.trials);
        if !arguments.list {
            for Difference { case, reason } in DIFFERENCES {
                println!("by design: {case}: {reason}");
            }
            let count = |(leg, count): &(&str, Arc<AtomicUsize>)| {
                format!("{} {}", leg.replace('_', " "), count.load(Ordering::Relaxed))
            };
            let counts: Vec<String> = self.passed.iter().map(count).collect();
            println!("parity: {} cases", counts.join(", "));
        }
        conclusion.exit()
    }
}

/// Runs a case in a thread of its own, which is left alone when it hangs.
fn within_limit(case: impl FnOnce() + Send + 'static) -> Result<(), Failed> {
    let (sender, receiver) = channel();
    let work = move || {
        let result = catch_unwind(AssertUnwindSafe(case)).map_err(|panic| message(&*panic));
        // Nobody listens any more when it took too long.
        let _ = sender.send(result);
    };
    thread::Builder::new().name("case".to_owned()).spawn(work).map_err(|error| error.to_string())?;
    match receiver.recv_timeout(LIMIT) {
        Ok(result) => result.map_err(Failed::from),
        Err(RecvTimeoutError::Timeout) => Err(format!("it hangs: {LIMIT:?} are over").into()),
        Err(RecvTimeoutError::Disconnected) => Err("its thread ended without a word".into()),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked").to_owned()
}
