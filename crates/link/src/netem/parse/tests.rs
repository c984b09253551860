use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> NetemConfig {
    text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn error(text: &str) -> String {
    text.parse::<NetemConfig>().expect_err(text).to_string()
}

#[test]
fn every_condition_is_read() {
    let text = "delay 40ms 5ms loss 1% rate 20mbit reorder 5% duplicate 1% corrupt 0.1% limit 100 ecn";
    let expected = NetemConfig {
        delay: Duration::from_millis(40),
        jitter: Duration::from_millis(5),
        loss: 1.0,
        duplicate: 1.0,
        reorder: 5.0,
        corrupt: 0.1,
        rate: 20_000_000,
        limit: 100,
        ecn: true,
    };
    assert_eq!(parse(text), expected);
    assert_eq!(parse(""), NetemConfig::default());
    assert_eq!(parse("  loss\t1%\n"), NetemConfig { loss: 1.0, ..NetemConfig::default() });
}

#[test]
fn units_are_exact() {
    let delay = |text: &str| parse(&format!("delay {text}")).delay.as_nanos();
    assert_eq!(
        [delay("1.5ms"), delay("0.001us"), delay("2S"), delay("3ns")],
        [1_500_000, 1, 2_000_000_000, 3]
    );
    let rate = |text: &str| parse(&format!("rate {text}")).rate;
    assert_eq!([rate("1.5kbit"), rate("1gbit"), rate("9600bit")], [1_500, 1_000_000_000, 9_600]);
    assert_eq!([rate("1bps"), rate("2kbps"), rate("0.5Mbps")], [8, 16_000, 4_000_000]);
}

#[test]
fn errors_name_the_word_and_what_is_allowed() {
    assert_eq!(
        error("delay 40ms speed 3"),
        "unknown link condition \"speed\"; allowed are delay TIME [JITTER], loss P%, duplicate P%, \
         reorder P%, corrupt P%, rate RATE, limit PACKETS, ecn"
    );
    assert_eq!(
        error("loss 101%"),
        "loss can't be \"101%\"; it takes a percentage from 0% to 100%, such as 1%"
    );
    assert_eq!(error("loss"), "loss has no value; it takes a percentage from 0% to 100%, such as 1%");
    assert_eq!(error("loss 1% loss 2%"), "\"loss\" is given twice");
}

#[test]
fn bad_values_are_refused() {
    let bad = [
        "delay",
        "delay 40",
        "delay ms",
        "delay .ms",
        "delay -1ms",
        "delay 1e3ms",
        "delay 0.1ns",
        "delay 86401s",
        "delay 1ms 5",
        "delay 1.2.3ms",
        "delay 99999999999999999999s",
        "loss 1",
        "loss %",
        "loss nan%",
        "loss inf%",
        "loss -1%",
        "loss 1e1%",
        "loss .%",
        "rate 0bit",
        "rate 20",
        "rate 1mb",
        "rate 0.5bit",
        "rate 1000001gbit",
        "limit 0",
        "limit 1.5",
        "limit",
        "limit 99999999999999999999",
        "delay 1ms loss",
        "40ms",
    ];
    for text in bad {
        let message = error(text);
        assert!(!message.contains('\n') && message.contains("; "), "{message}");
    }
}

fn configs() -> impl Strategy<Value = NetemConfig> {
    let time = || prop_oneof![Just(0), 0..=LONGEST as u64, (0..86_400_u64).prop_map(|s| s * 1_000_000_000)];
    let percent = || prop_oneof![Just(0.0), 0.0..=100.0];
    let rate = prop_oneof![Just(0), 0..=FASTEST as u64];
    let shares = (percent(), percent(), percent(), percent());
    let limits = (1..=u32::MAX as usize, any::<bool>());
    (time(), time(), shares, rate, limits).prop_map(|(delay, jitter, shares, rate, (limit, ecn))| {
        NetemConfig {
            delay: Duration::from_nanos(delay),
            jitter: Duration::from_nanos(jitter),
            loss: shares.0,
            duplicate: shares.1,
            reorder: shares.2,
            corrupt: shares.3,
            rate,
            limit,
            ecn,
        }
    })
}

proptest! {
    #[test]
    fn what_is_printed_parses_back(config in configs()) {
        prop_assert_eq!(parse(&config.to_string()), config);
    }

    #[test]
    fn any_text_is_read_or_refused_in_one_line(text in "(?s).*") {
        if let Err(error) = text.parse::<NetemConfig>() {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn any_words_are_read_or_refused(words in proptest::collection::vec(
        prop_oneof!["delay|loss|rate|limit|reorder|corrupt|ecn", "[0-9.]{0,25}(ms|us|s|%|bit|gbps|)"], 0..8,
    )) {
        if let Ok(config) = words.join(" ").parse::<NetemConfig>() {
            prop_assert_eq!(parse(&config.to_string()), config);
        }
    }
}
