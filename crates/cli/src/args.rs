//! The command line.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};
use sockeye_link::NetemConfig;

use crate::error::CliError;
use crate::network;

const EXAMPLES: &str = "\
Examples:
  sockeye run -- ./ping-pong.sh                        a program on a network of its own
  sockeye run --pcap out.pcapng -- ./server-test       … recorded for Wireshark
  sockeye run --net demo --host web -p 8080:80 -- nginx -g 'daemon off;'
  sockeye run --net demo -- curl http://web/           … from another terminal
  sockeye lab examples/web.toml                        several hosts and their programs";

const LINK_HELP: &str = "\
Conditions of the host's link, in each direction, in netem's words:
  delay TIME [JITTER]   loss N%   duplicate N%   reorder N%   corrupt N%   rate RATE   limit PACKETS   ecn
as in --link \"delay 40ms 5ms loss 1% rate 20mbit\"; with ecn, packets that can be marked are marked instead of \
dropped. On a host that is there already they change its link, for all that \
run on it.";

macro_rules! ports_help {
    () => {
        "Ports are written as [ADDR:]HOSTPORT[-HOSTPORT]:PORT[-PORT][/udp]: the machine's port (or range of them) \
        at ADDR (127.0.0.1 unless given; IPv6 in brackets) leads to the host's, as in 8080:80, \
        0.0.0.0:5300-5303:53-56/udp, [::1]:8080:80."
    };
}

const PUBLISH_HELP: &str =
    concat!(ports_help!(), " They stay published until sockeye unpublish, or until the network ends.");

const RUN_PUBLISH_HELP: &str = concat!(
    "Have ports of the machine lead to the host. ",
    ports_help!(),
    " They are closed when this run ends; those of sockeye publish stay."
);

const UNPUBLISH_HELP: &str = "\
Ports are written as [ADDR:]HOSTPORT[-HOSTPORT][/udp], the machine's: as in 8080, 0.0.0.0:5300-5303/udp, [::1]:8080. \
All of them are closed, or none. Connections that go through them go on.";

const RUN_HELP: &str = "\
The program's flows leave the network through this machine's sockets, unless --offline; host.sockeye is this \
machine's loopback.\n\
The exit status is the program's: 127 when it is missing, 126 when it can't be executed, 125 when sockeye itself \
failed.\nSOCKEYE_LOG=trace prints the calls that sockeye answers.";

/// Run unmodified programs on sockets, TCP and a network in user space.
///
/// No root, no kernel module, no preload library: static and Go programs work too.
#[derive(Debug, Parser)]
#[command(name = "sockeye", version, after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a program on a network of its own, or on a named one that others join
    Run(RunArgs),
    /// Run the hosts and programs of a lab file on a private network
    Lab(LabArgs),
    /// List named networks, their hosts, programs and sockets
    Ps(PsArgs),
    /// End a named network and the programs on it
    Down {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Have ports of the machine lead to a host of a named network
    Publish(PublishArgs),
    /// Have published ports lead nowhere again
    #[command(after_help = UNPUBLISH_HELP)]
    Unpublish(PublishArgs),
    /// Local sockets by hand: named by a file, carried by shared memory where both ends are sockeye's
    #[command(arg_required_else_help = true)]
    Local {
        #[command(subcommand)]
        command: LocalCommand,
    },
    /// Say what this machine lacks for running programs, and what to do about it
    Doctor,
    /// The process of a named network, which `run --net` starts
    #[command(hide = true)]
    Network(NetworkArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum LocalCommand {
    /// Listen at a path for one connection, of whatever program, and talk to it: standard input and output
    Listen {
        /// Receive datagrams, without end: once somebody with a name has sent one, standard input goes there
        #[arg(short = 'u', long)]
        datagram: bool,
        /// The file that names the socket
        path: PathBuf,
    },
    /// Connect to the program that listens at a path, and talk to it
    Connect {
        /// Send datagrams, one for whatever is read at once, until standard input ends
        #[arg(short = 'u', long)]
        datagram: bool,
        /// The file that names the socket
        path: PathBuf,
    },
    /// Measure shared memory beside the kernel's sockets, by a listener at a path
    Bench {
        /// The file that will name the socket
        path: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
#[command(after_help = RUN_HELP)]
pub(crate) struct RunArgs {
    /// Join the network of this name, or start it; without, the program has a network of its own
    #[arg(long, value_name = "NAME")]
    pub(crate) net: Option<String>,
    /// The host to run on; it is made unless it is there, and shared by all that name it
    #[arg(long, value_name = "NAME", requires = "net", default_value = network::ONLY_HOST)]
    pub(crate) host: String,
    /// Address of the host [default: the next free one from 10.77.0.2 on]
    #[arg(long, value_name = "ADDR")]
    pub(crate) ip: Option<IpAddr>,
    /// Have ports of the machine lead to the host while the program runs: [ADDR:]HOSTPORT:PORT, ranges too;
    /// /udp at the end for UDP
    #[arg(short = 'p', long = "publish", value_name = "PORTS", long_help = RUN_PUBLISH_HELP)]
    pub(crate) publish: Vec<String>,
    /// Conditions of the host's link, for all that run on it, as "delay 40ms 5ms loss 1% rate 20mbit"
    #[arg(long, value_name = "CONDITIONS", long_help = LINK_HELP)]
    pub(crate) link: Option<NetemConfig>,
    /// Record the host's packets, also those to itself, in a pcapng file
    #[arg(long, value_name = "FILE", value_parser = PathBufValueParser::new().try_map(parse_capture))]
    pub(crate) pcap: Option<PathBuf>,
    /// Seed of every random choice (loss, jitter, ports) of a new network [default: fresh]
    #[arg(long, value_name = "N", value_parser = parse_seed)]
    pub(crate) seed: Option<u64>,
    /// Close the network: nothing leaves it, no name of the outside is known
    #[arg(long)]
    pub(crate) offline: bool,
    /// How long connections that the program has closed may take to deliver what it sent: seconds, or a time such as 500ms
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
    pub(crate) linger: Duration,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<OsString>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PsArgs {
    /// Only this network
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = PUBLISH_HELP)]
pub(crate) struct PublishArgs {
    /// The network
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Its host, where it has several
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// The ports
    #[arg(required = true, value_name = "PORTS")]
    pub(crate) ports: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct NetworkArgs {
    /// Its name
    pub(crate) name: String,
    /// Nothing leaves it
    #[arg(long)]
    pub(crate) offline: bool,
    /// Seed of every random choice
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

/// A time such as `500ms`; a bare number is seconds. At most a day.
fn parse_time(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let time = seconds.or_else(|| humantime::parse_duration(text).ok());
    match time {
        Some(time) if time <= Duration::from_hours(24) => Ok(time),
        Some(_) => Err("a day is the longest".to_owned()),
        None => Err("write a number of seconds, or a time such as 10s, 500ms or 2min".to_owned()),
    }
}

fn parse_seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("write a whole number from 0 to {}", u64::MAX))
}

/// The file of a capture. Elsewhere a lone hyphen is the standard output; a file of that name is a mistake.
fn parse_capture(path: PathBuf) -> Result<PathBuf, &'static str> {
    if path.as_os_str() == "-" {
        return Err("for the standard output write --pcap /dev/stdout, for a file of that name ./-");
    }
    Ok(path)
}

#[derive(Debug, clap::Args)]
pub(crate) struct LabArgs {
    /// The lab file (TOML)
    #[arg(value_name = "FILE.toml")]
    pub(crate) file: PathBuf,
    /// Print only failures and the summary, not the programs' output
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Keep the folder that {scratch} stands for
    #[arg(long)]
    pub(crate) keep: bool,
}

impl Args {
    /// Parses the process's arguments. Help and version are printed here and end the process.
    pub(crate) fn from_command_line() -> Result<Args, CliError> {
        Args::try_parse().map_err(|error| {
            if error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                return CliError::usage(one_line(&error));
            }
            error.exit()
        })
    }
}

/// Clap's first paragraph in one line, with the place to read on.
fn one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidArg)
        && name.starts_with('-')
    {
        return format!("there is no option {name} (try --help); a program and its options come after --");
    }
    let text = error.render().to_string();
    let paragraph: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let message = paragraph.join(" ");
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    match likely_command(error) {
        Some(name) => format!("{message}; did you mean {name}? (try --help)"),
        None => format!("{message} (try --help)"),
    }
}

/// The command that was meant by a misspelt one: clap's guess, or else the one with the same letters, as clap doesn't
/// guess at words as short as `rnu`.
fn likely_command(error: &clap::Error) -> Option<String> {
    if let Some(ContextValue::Strings(names)) = error.get(ContextKind::SuggestedSubcommand)
        && let Some(best) = names.last()
    {
        return Some(best.clone());
    }
    let Some(ContextValue::String(written)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    let letters = |word: &str| {
        let mut letters: Vec<_> = word.chars().collect();
        letters.sort_unstable();
        letters
    };
    let commands = Args::command();
    let mut names =
        commands.get_subcommands().filter(|command| !command.is_hide_set()).map(clap::Command::get_name);
    names.find(|name| letters(name) == letters(written)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn options_of_the_program_are_the_programs() {
        let args =
            Args::try_parse_from(["sockeye", "run", "--seed", "3", "--", "curl", "--ip", "x"]).unwrap();
        let Command::Run(run) = args.command else { panic!("not run") };
        assert_eq!((run.seed, run.ip), (Some(3), None));
        assert_eq!(run.program, ["curl", "--ip", "x"]);
    }

    #[test]
    fn a_misspelt_option_is_no_program() {
        for line in [["sockeye", "run", "--bogus", "true"], ["sockeye", "run", "-x80:80", "true"]] {
            let error = one_line(&Args::try_parse_from(line).unwrap_err());
            assert!(error.contains(&format!("no option {}", &line[2][..2])), "{error}");
        }
        let args = Args::try_parse_from(["sockeye", "run", "true", "--bogus", "-x", "--", "-p1:2"]).unwrap();
        let Command::Run(run) = args.command else { panic!("not run") };
        assert_eq!(run.program, ["true", "--bogus", "-x", "--", "-p1:2"]);
    }

    #[test]
    fn a_short_options_value_may_follow_at_once() {
        for line in [&["-p", "18080:80"][..], &["-p18080:80"], &["-p=18080:80"], &["--publish=18080:80"]] {
            for program in [&["true", "-x"][..], &["--", "true", "-x"]] {
                let args = Args::try_parse_from([&["sockeye", "run"], line, program].concat()).unwrap();
                let Command::Run(run) = args.command else { panic!("not run") };
                assert_eq!(run.publish, ["18080:80"], "{line:?}");
                assert_eq!(run.program, ["true", "-x"], "{line:?}");
            }
        }
    }

    #[test]
    fn bad_values_are_named_with_a_remedy() {
        for (option, value, remedy) in [
            ("--seed", "x", "whole number"),
            ("--seed", "1.5", "whole number"),
            ("--linger", "abc", "such as 10s"),
            ("--linger", "10 parsecs", "such as 10s"),
            ("--linger", "25h", "a day"),
            ("--pcap", "-", "/dev/stdout"),
        ] {
            let line = ["sockeye", "run", option, value, "--", "true"];
            let message = one_line(&Args::try_parse_from(line).unwrap_err());
            assert!(message.contains(option) && message.contains(remedy), "{message}");
            assert!(message.contains(&format!("'{value}'")), "{message}");
        }
        for (text, millis) in
            [("10", 10_000), ("10s", 10_000), ("0.5", 500), ("500ms", 500), ("2min", 120_000)]
        {
            assert_eq!(parse_time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn a_misspelt_command_is_guessed() {
        let guess = |name| one_line(&Args::try_parse_from(["sockeye", name]).unwrap_err());
        assert!(guess("rnu").ends_with("did you mean run? (try --help)"), "{}", guess("rnu"));
        assert!(guess("publsh").ends_with("did you mean publish? (try --help)"), "{}", guess("publsh"));
        assert!(!guess("fly").contains("mean"), "{}", guess("fly"));
    }

    #[test]
    fn mistakes_are_one_line() {
        for line in [
            &["sockeye", "run"][..],
            &["sockeye", "run", "--ip", "10.0.0", "--", "true"],
            &["sockeye", "run", "--link", "dela 4ms", "--", "true"],
            &["sockeye", "run", "--seed", "x", "--", "true"],
            &["sockeye", "run", "--linger", "abc", "--", "true"],
            &["sockeye", "run", "--pcap", "-", "--", "true"],
            &["sockeye", "fly"],
            &["sockeye", "lab"],
        ] {
            let message = one_line(&Args::try_parse_from(line).unwrap_err());
            assert_eq!(message.lines().count(), 1, "{message}");
            assert!(!message.contains("error:"), "{message}");
        }
    }
}
