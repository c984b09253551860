use super::*;

const HOSTS: &str = "[host.web]\n[host.client]\n";

fn parse(text: &str) -> Result<LabFile, String> {
    LabFile::parse(text)
}

#[test]
fn reads_every_key() {
    let lab = parse(
        r#"
        [network]
        subnet = "10.1.0.0/16"
        seed = 7
        pcap = "out.pcapng"
        [host.web]
        ip = "10.1.0.9"
        link = "delay 10ms loss 1%"
        syn_retries = 2
        [host.client]
        [[program]]
        host = "client"
        run = "curl -o 'a file' http://web/"
        after = ["web:80", { host = "web", output = "^ready" }]
        env = { A = "b" }
        cwd = "/tmp"
        timeout = "20s"
        expect.exit = 3
        expect.stdout = "hel+o"
        expect.sha256 = { "a file" = "00" }
        [[program]]
        host = "web"
        run = ["python3", "-m", "http.server"]
        after = "client:9"
        timeout = 1.5
        "#,
    )
    .unwrap();
    assert_eq!(lab.host.keys().collect::<Vec<_>>(), ["web", "client"], "in the order of the file");
    let program = &lab.programs[0];
    assert_eq!(program.run.0, ["curl", "-o", "a file", "http://web/"]);
    assert!(matches!(&program.after.0[0], After::Listens { host, port: 80 } if host == "web"));
    assert!(matches!(&program.after.0[1], After::Printed { line, .. } if line.is_match("ready now")));
    assert_eq!(program.timeout, Duration::from_secs(20));
    assert_eq!(program.expect.as_ref().unwrap().exit, 3);
    assert_eq!(lab.programs[1].run.0, ["python3", "-m", "http.server"]);
    assert_eq!(lab.programs[1].timeout, Duration::from_millis(1500));
    assert!(lab.programs[1].expect.is_none());
}

#[test]
fn every_mistake_is_one_line_that_names_it() {
    let program = |rest: &str| format!("{HOSTS}[[program]]\nhost = \"web\"\n{rest}\n");
    let cases = [
        (String::new(), "no host"),
        (HOSTS.to_string(), "no program"),
        ("[host.web]\nlnk = 1\n".to_string(), ":2: unknown field `lnk`, expected one of `ip`, `link`"),
        ("[network]\nseed = -1\n".to_string(), ":2: `seed` is -1: write a whole number from 0"),
        ("[network]\nsubnet = \"10.0.0.0\"\n".to_string(), ":2: bad subnet"),
        ("[network]\nsubnet = 10\n".to_string(), ":2: `subnet` is 10: write a string such as"),
        ("network = [\"10.1.0.0/16\"]\n".to_string(), ":1: invalid type: sequence, expected a table"),
        ("host.a = [\"10.77.0.9\"]\n".to_string(), ":1: invalid type: sequence, expected a table"),
        ("program = [[\"web\", \"true\"]]\n".to_string(), ":1: invalid type: sequence, expected a table"),
        (
            "[host.web]\nsyn_retries = -2\n".to_string(),
            ":2: `syn_retries` is -2: write a whole number from 0 to 255",
        ),
        ("[host.web]\nip = \"10.0.0\"\n".to_string(), ":2: invalid IP address"),
        ("[host.web]\nlink = \"dela 1ms\"\n".to_string(), "dela"),
        ("x = [".to_string(), ":1: "),
        (program("run = \"a 'b\""), "quote that is not closed"),
        (program("run = []"), "`run` is empty"),
        (program("run = 5"), "expected a command line"),
        (program("run = \"a\"\nafter = \"web\""), "HOST:PORT"),
        (program("run = \"a\"\nafter = \"web:99999\""), "HOST:PORT"),
        (program("run = \"a\"\nafter = \"db:1\""), "no host of this lab; the hosts are: web, client"),
        (program("run = \"a\"\ntimeout = \"soon\""), "no time such as"),
        (program("run = \"a\"\ntimeout = -1"), ":6: "),
        (program("run = \"a\"\nexpect.stdout = \"(\""), "no regular expression"),
        (program("run = \"a\"\nafter = [\"web\", \"x\"]"), "`after` is \"web\"; write it as \"HOST:PORT\""),
        (
            program("run = \"a\"\nenv = \"A=1\""),
            ":6: `env` is \"A=1\": write a table of strings, as in { A = \"1\" }",
        ),
        (program("run = \"a\"\nenv = { A = 1 }"), "write a table of strings"),
        (program("run = \"a\"\nexpect = [0, \"x\"]"), ":6: invalid type: sequence, expected a table"),
        (
            program("run = \"a\"\nexpect.exit = \"zero\""),
            ":6: `exit` is \"zero\": write a whole number from 0 to 255",
        ),
        (program("run = \"a\"\nexpect.exit = 256"), "from 0 to 255"),
        (program("run = \"a\"\nexpect.sha256 = \"00\""), "a table of files"),
        (program("run = \"a\"\nexpect.exitt = 1"), "unknown field `exitt`"),
    ];
    for (text, part) in cases {
        let error = parse(&text).expect_err(&text);
        assert!(error.contains(part), "{text}\ngave: {error}\nwant: {part}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn two_conditions_in_an_array_are_two() {
    let text =
        format!("{HOSTS}[[program]]\nhost = \"web\"\nrun = \"a\"\nafter = [\"web:81\", \"client:82\"]\n");
    let lab = parse(&text).unwrap();
    let after: Vec<_> = lab.programs[0].after.0.iter().map(After::to_string).collect();
    assert_eq!(after, ["web to listen on port 81", "client to listen on port 82"]);
}

#[test]
fn what_the_network_refuses_has_its_place_in_the_file() {
    let program = "[[program]]\nhost = \"a\"\nrun = \"true\"\n";
    for (hosts, message) in [
        ("[host.a]\nip = \"10.77.0.2\"\n[host.b]\nip = \"10.77.0.2\"\n", "x.toml:3: host \"b\" can't have"),
        ("[host.a]\n\n[host.b]\nip = \"10.99.0.2\"\n", "x.toml:3: host \"b\" can't have"),
        ("[host.a]\n[host.A]\n", "x.toml:2: the name \"A\" is taken"),
        ("[host.a]\n[host.b_]\n", "x.toml:2: bad host name"),
    ] {
        let file = LabFile { path: "x.toml".into(), ..parse(&format!("{hosts}{program}")).unwrap() };
        let error = crate::network::for_lab(&file, 1).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

mod any_text {
    use super::*;
    use proptest::prelude::*;

    /// Words of lab files in any order, with anything between them.
    fn scraps() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            Just("[network]\n".to_string()),
            Just("[host.web]\n".to_string()),
            Just("[[program]]\n".to_string()),
            Just("host = \"web\"\n".to_string()),
            Just("run = ".to_string()),
            Just("after = [\"web:80\", {host = \"web\", output = \"(\"}]\n".to_string()),
            Just("link = \"delay ".to_string()),
            Just("timeout = 1e400\n".to_string()),
            Just("expect.sha256 = { \"a\" = \"b\" }\n".to_string()),
            "[ -~\\n]{0,12}",
            "\\PC{0,4}",
        ];
        proptest::collection::vec(word, 0..12).prop_map(|words| words.concat())
    }

    proptest! {
        #[test]
        fn is_a_lab_or_one_line_of_error(text in scraps()) {
            if let Err(error) = parse(&text) {
                prop_assert_eq!(error.lines().count(), 1, "{}", error);
            }
        }
    }
}
