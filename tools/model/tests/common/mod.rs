//! What the models share.

#![allow(dead_code, unreachable_pub, reason = "each file uses a part")]

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};
use sockeye_model::{Host, HostConfig, Network};

/// Runs a model in many orders of its threads: half of them at random, half with few changes of thread, which
/// finds rare ones. A failure prints the order, which `shuttle::replay` plays again. `SOCKEYE_MODEL_TIMES` says how many
/// times as many.
pub fn check(iterations: usize, model: impl Fn() + Send + Sync + Clone + 'static) {
    let times = std::env::var("SOCKEYE_MODEL_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    let iterations = iterations * times;
    let config = || {
        let mut config = Config::new();
        config.stack_size = 256 * 1024;
        // About orderings weaker than SeqCst, which it can't tell from it: only the parked thread's state has some.
        config.silence_warnings = true;
        config
    };
    Runner::new(RandomScheduler::new(iterations), config()).run(model.clone());
    Runner::new(PctScheduler::new(3, iterations), config()).run(model);
}

/// A threaded network of two hosts with these link conditions.
pub fn hosts(link: &str) -> (Network, Host, Host) {
    let config = || HostConfig {
        link: link.parse::<sockeye_model::NetemConfig>().unwrap().into(),
        ..HostConfig::default()
    };
    let network = Network::builder().seed(1).host("a", config()).host("b", config()).build().unwrap();
    let (a, b) = (network.host("a").unwrap(), network.host("b").unwrap());
    (network, a, b)
}
