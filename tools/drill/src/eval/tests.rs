use super::{Env, EvalError, Program, Value};

fn info(name: &str) -> Option<Value> {
    Some(match name {
        "tcpi_snd_cwnd" => Value::Int(11),
        "tcpi_options" => Value::Int(32 | 1),
        "tcpi_rtt" => Value::Int(12_500),
        "tcpi_state" => Value::Int(1),
        "tcpi_pacing_rate" => Value::from(u64::MAX),
        _ => return None,
    })
}

fn run_in(env: &mut Env, text: &str) -> Result<(), EvalError> {
    Program::parse(text)?.run(env, &info)
}

fn run(text: &str) -> Result<(), EvalError> {
    run_in(&mut Env::new(), text)
}

fn holds(text: &str) {
    if let Err(error) = run(&format!("assert {text}")) {
        panic!("{text}: {error}");
    }
}

fn message(text: &str) -> String {
    run(text).expect_err(text).message
}

/// The value of an expression.
fn value(text: &str) -> Value {
    let mut env = Env::new();
    run_in(&mut env, &format!("x = {text}")).unwrap_or_else(|error| panic!("{text}: {error}"));
    env.get("x").expect("a variable").clone()
}

#[test]
fn what_holds_in_python() {
    for text in [
        "tcpi_snd_cwnd == 11, tcpi_snd_cwnd",
        "(tcpi_options & TCPI_OPT_SYN_DATA) != 0, tcpi_options",
        "12000 <= tcpi_rtt <= 13000, 'rtt=%d' % tcpi_rtt",
        "tcpi_state == TCP_ESTABLISHED",
        "TCP_CA_Open == 0 and TCP_CA_Loss == 4 and TCP_CLOSING == 11",
        "tcpi_pacing_rate == 18446744073709551615",
        "not 1 == 2",
        "not not True",
        "1 in (1, 2) and 3 not in [1, 2]",
        "'b' in 'abc'",
        "1 < 2 < 3 and not 1 < 3 < 2",
        "None is None and 1 is not 2",
        "1 <> 2",
        "1 == 1.0 == True",
        "'a' < 'b' and (1, 2) < (1, 3)",
        "(1 if 0 else 2) == 2",
        "0 or 5",
        "True",
    ] {
        holds(text);
    }
}

#[test]
fn operators_bind_as_in_python() {
    for (text, expected) in [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("10 - 4 - 3", 3),
        ("1 | 2 ^ 3 & 2", 1),
        ("1 << 2 + 1", 8),
        ("-256 >> 4", -16),
        ("2 ** 3 ** 2", 512),
        ("-2 ** 2", -4),
        ("~5", -6),
        ("+5", 5),
        ("7 // 2", 3),
        ("-7 // 2", -4),
        ("-7 % 3", 2),
        ("7 % -3", -2),
        ("0x10 + 0b11 + 0o7 + 1_000", 1026),
        ("0x7fffffffL", 0x7fff_ffff),
        ("max(1, 5, 3) - min([4, 2])", 3),
        ("abs(-4) + len('abc') + len((1, 2))", 9),
        ("int(3.9) + int('5') + round(2.5) + int(True)", 11),
        ("(10, 20, 30)[1] + [1, 2][-1]", 22),
        ("5 if 1 > 2 else 6 if 1 > 3 else 7", 7),
    ] {
        assert_eq!(value(text), Value::Int(expected), "{text}");
    }
    for (text, expected) in [
        ("7 / 2", 3.5),
        ("1e3", 1000.0),
        ("1.5e-1", 0.15),
        (".5 + 1.", 1.5),
        ("7.5 // 2", 3.0),
        ("-7.5 % 2", 0.5),
        ("2 ** -1", 0.5),
        ("-1.5", -1.5),
        ("float(3) * 2", 6.0),
        ("abs(-2.5)", 2.5),
    ] {
        assert_eq!(value(text), Value::Float(expected), "{text}");
    }
}

#[test]
fn strings() {
    for (text, expected) in [
        (r"'it''s' 'joined'", "itsjoined"),
        (r#""a\n" + 'b'"#, "a\nb"),
        (r"r'a\n'", r"a\n"),
        ("'''two\nlines'''", "two\nlines"),
        ("'%d of %s, %x %5.2f %%' % (1, 'x', 255, 1.5)", "1 of x, ff 1.5 %"),
        ("'rtt=%d' % tcpi_rtt", "rtt=12500"),
        ("str(1.0) + str(None) + str((1, True))", "1.0None(1, True)"),
    ] {
        assert_eq!(value(text), Value::Text(expected.into()), "{text}");
    }
}

#[test]
fn variables_live_as_long_as_their_env() {
    let mut env = Env::new();
    run_in(&mut env, "a = b = 2; a += 3").unwrap();
    run_in(&mut env, "assert (a, b) == (5, 2)").unwrap();
    run_in(&mut env, "tcpi_rtt = 1; assert tcpi_rtt == 1").unwrap();
    assert_eq!(env.get("a"), Some(&Value::Int(5)));
    for (text, expected) in [
        ("-=", 4),
        ("*=", 12),
        ("//=", 3),
        ("%=", 0),
        ("**=", 36),
        ("|=", 6),
        ("&=", 2),
        ("^=", 4),
        ("<<=", 24),
        (">>=", 1),
    ] {
        run_in(&mut env, &format!("c = 6; c {text} 2")).unwrap();
        assert_eq!(env.get("c"), Some(&Value::Int(expected)), "{text}");
    }
}

#[test]
fn lines_and_statements() {
    // As scripts write them: on the line of the sign, below it at any depth, joined by backslashes.
    run(" assert 1 == 1, 1 ").unwrap();
    run("\n  assert 1 == 1, 1\n    assert 2 == 2 # a remark\n\n# another\nassert 3 ").unwrap();
    run(" assert 1 == 1, 1;\\\n   assert 2 == 2, 2;\\\n").unwrap();
    run("assert (1 ==\n  1)\nimport sys; from a import b; pass; print 'x', 1\nprint('y')\n").unwrap();
    assert_eq!(run("\n\nassert 1 == 1\nassert 1 == 2\n").unwrap_err().line, 3);
    assert_eq!(run("a = 1;\\\nassert a == 2").unwrap_err().line, 1);
    assert_eq!(run("assert '''\n\n''' == 1").unwrap_err().line, 0);
}

#[test]
fn conditional_statements() {
    let text = "
if n == 1:
    x = 'one'
elif n == 2:
    x = 'two'
    if True:
        x = 'two!'
    y = 1
else: x = 'many'; y = 3
z = 7
";
    for (n, x, y) in [(1, "one", None), (2, "two!", Some(1)), (3, "many", Some(3))] {
        let mut env = Env::new();
        env.set("n", Value::Int(n));
        run_in(&mut env, text).unwrap();
        assert_eq!(env.get("x"), Some(&Value::Text(x.into())));
        assert_eq!(env.get("y"), y.map(Value::Int).as_ref());
        assert_eq!(env.get("z"), Some(&Value::Int(7)));
    }
    run(" if False: assert 0\nelse: pass\nif False:\n  assert 0").unwrap();
    assert_eq!(message("if True:\nassert 1"), "a block without statements");
}

#[test]
fn a_failed_assert_shows_the_values() {
    for (text, expected) in [
        ("assert tcpi_snd_cwnd == 10", "assert tcpi_snd_cwnd == 10 does not hold: tcpi_snd_cwnd is 11"),
        (
            "assert tcpi_snd_cwnd == 10, tcpi_snd_cwnd",
            "assert tcpi_snd_cwnd == 10 does not hold: tcpi_snd_cwnd is 11",
        ),
        (
            "assert 1 <= tcpi_rtt <= 100, 'rtt=%d' % tcpi_rtt",
            "assert 1 <= tcpi_rtt <= 100 does not hold: tcpi_rtt is 12500 (rtt=12500)",
        ),
        (
            "assert (tcpi_options & TCPI_OPT_SYN_DATA) == 0",
            "assert (tcpi_options & TCPI_OPT_SYN_DATA) == 0 does not hold: (tcpi_options & TCPI_OPT_SYN_DATA) is 32, \
             tcpi_options is 33, TCPI_OPT_SYN_DATA is 32",
        ),
        ("assert 1 + 1 == 3", "assert 1 + 1 == 3 does not hold: 1 + 1 is 2"),
        ("assert 0, 'why'", "assert 0 does not hold (why)"),
    ] {
        assert_eq!(message(text), expected);
    }
}

#[test]
fn what_is_refused() {
    for (text, expected) in [
        ("assert tcpi_unheard == 1", "the name `tcpi_unheard` is not known"),
        ("a = 1 / 0", "division by zero"),
        ("a = 1 % 0", "division by zero"),
        ("a = 2.0 // 0", "division by zero"),
        ("a = 1 << 200", "a number out of range"),
        ("a = 1 << -1", "a shift out of range"),
        ("a = 10 ** 100", "a number out of range"),
        ("a = 'x' - 1", "no such operator on a string and a whole number"),
        ("a = -'x'", "no such operator on a string"),
        ("a = 1.5 & 1", "operators on bits take whole numbers"),
        ("assert 'a' < 1", "a string and a whole number have no order"),
        ("assert 1 in 5", "nothing is in a whole number"),
        ("a = open('x')", "no function `open` of 1 values"),
        ("a = max()", "max of nothing"),
        ("a = (1, 2)[2]", "no place 2 in a list of 2"),
        ("a = '%d %d' % 1", "too few values for this format"),
        ("while True: pass", "expected an expression, found `while`"),
        ("assert 1 ==", "expected an expression, found `the end of the line`"),
        ("a = (1, 2", "expected `,` or `)`, found `the end of the line`"),
        ("a = 1 2", "expected `;`, found `2`"),
        ("a = 0x", "`0x` is no number"),
        ("a = 12abc", "`12abc` is no number"),
        ("a = 'open", "a string without its closing quote"),
        ("a = $", "`$` is no sign of the language"),
        (
            "a = 340282366920938463463374607431768211456",
            "`340282366920938463463374607431768211456` is no number",
        ),
    ] {
        assert_eq!(message(text), expected, "{text}");
    }
}

#[test]
fn depth_and_length_are_bounded() {
    for open in ["(", "[", "- ", "not ", "1 ** ", "abs(", "1 if "] {
        let text = format!("a = {}", open.repeat(400));
        assert!(run(&text).is_err(), "{open}");
    }
    assert_eq!(message(&format!("a = 1{}", " + 1".repeat(100_000))), "this line is too long");
    let blocks: String = (0..100).flat_map(|depth| [" ".repeat(depth), "if True:\n".to_owned()]).collect();
    assert_eq!(message(&blocks), "these blocks are nested too deep");
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

    /// Any text is run or refused: no panic, no loop without an end.
    #[test]
    fn any_text_is_run_or_refused(text in ".{0,120}") {
        let _ = run(&text);
    }

    #[test]
    fn pieces_of_statements_are_run_or_refused(
        pieces in proptest::collection::vec(
            proptest::sample::select(&[
                "a", "tcpi_rtt", " = ", "1", "0", "-1", "2.5", "'x%d'", "\"", "+", "-", "*", "/", "//", "%", "**", "<<",
                ">>", "&", "|", "~", "==", "<", " in ", " not ", " and ", " or ", "(", ")", "[", "]", ",", ":", ";", "\n",
                "  ", "if ", " else ", "elif ", "assert ", "print ", "abs(", "max(", "#", "\\", "\\\n", "127", "99999999999",
            ][..]),
            0..30,
        )
    ) {
        let _ = run(&pieces.concat());
    }

    /// Whole numbers come to what Rust's own operators say.
    #[test]
    fn whole_numbers_count_as_they_should(a in -1000i128..1000, b in 1i128..1000) {
        proptest::prop_assert_eq!(value(&format!("{a} // {b}")), Value::Int(a.div_euclid(b)));
        proptest::prop_assert_eq!(value(&format!("{a} % {b}")), Value::Int(a.rem_euclid(b)));
        proptest::prop_assert_eq!(value(&format!("({a} + {b}) * {a}")), Value::Int((a + b) * a));
    }
}
