//! `cargo xtask header` and `install-c`: what C programs need of crate `capi`.

use crate::tool;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The header, from the project's folder on.
const HEADER: &str = "crates/capi/include/sockeye.h";

/// The files with exported functions, in the order in which the header has them.
const SOURCES: [&str; 10] =
    ["network", "host", "answer", "socket", "data", "messages", "multiple", "options", "poll", "names"];

/// Its first lines, before what is made of the sources.
const HEAD: &str = "\
/* libsockeye: sockets in user space, on hosts of networks in memory.
 *
 * The calls are those of the system's sockets, by the same names with a host before the rest: they take the structures
 * and constants of the system's headers, and return what those return, with -1 and errno when they fail. README.md
 * beside this file's source says where they differ.
 *
 *     sockeye_network *net = sockeye_network_new(NULL);
 *     sockeye_host *web = sockeye_host_new(net, \"web\", NULL, NULL);
 *     sockeye_host *me = sockeye_host_new(net, \"me\", NULL, \"delay 20ms loss 2%\");
 *     int listener = sockeye_socket(web, AF_INET, SOCK_STREAM, 0);
 *
 * Any thread may make any call. Signals don't end calls that wait, and a process that forks must not use in the child
 * what it made before. Of all pointers null is looked for (EFAULT).
 *
 * Written by `cargo xtask header` from crates/capi/src: change that, and run it. */";

#[derive(Debug, clap::Args)]
pub(crate) struct HeaderArgs {
    /// Write nothing; fail when the file is not what would be written
    #[arg(long)]
    check: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InstallArgs {
    /// The folder that gets include/, lib/ and lib/pkgconfig/
    #[arg(long, default_value = "/usr/local")]
    prefix: PathBuf,
    /// A folder to put before the prefix when files are written, for who makes packages
    #[arg(long)]
    destdir: Option<PathBuf>,
}

/// Writes the header, or says whether it is up to date.
pub(crate) fn header(root: &Path, args: &HeaderArgs) -> Result<bool, Box<dyn Error>> {
    let (file, text) = (root.join(HEADER), text(root)?);
    if !args.check {
        fs::write(file, text)?;
        return Ok(true);
    }
    let is_fresh = fs::read_to_string(file).is_ok_and(|found| found == text);
    if !is_fresh {
        eprintln!("header: {HEADER} is stale: run `cargo xtask header`");
    }
    Ok(is_fresh)
}

fn text(root: &Path) -> Result<String, Box<dyn Error>> {
    let folder = root.join("crates/capi");
    let mut config = cbindgen::Config::from_file(folder.join("cbindgen.toml").to_string_lossy().as_ref())?;
    config.header = Some(HEAD.to_owned());
    let sources = SOURCES.map(|name| folder.join("src").join(name).with_extension("rs"));
    let builder = cbindgen::Builder::new().with_config(config);
    let bindings = sources.into_iter().fold(builder, cbindgen::Builder::with_src).generate()?;
    let mut text = Vec::new();
    bindings.write(&mut text);
    // What Rust calls safety is for C what is expected of the caller.
    Ok(String::from_utf8(text)?.replace(" * # Safety\n *\n * ", " * Pointers: "))
}

/// Builds the library and puts everything in its place.
pub(crate) fn install(root: &Path, args: &InstallArgs) -> Result<(), Box<dyn Error>> {
    println!("building libsockeye");
    let built = tool::release(root, "sockeye-capi")?;
    let prefix = std::path::absolute(&args.prefix)?;
    let place = match &args.destdir {
        Some(destdir) => destdir.join(prefix.strip_prefix("/").unwrap_or(&prefix)),
        None => prefix.clone(),
    };
    let lib = place.join("lib");
    fs::create_dir_all(lib.join("pkgconfig"))?;
    fs::create_dir_all(place.join("include"))?;
    fs::copy(root.join(HEADER), place.join("include/sockeye.h"))?;
    fs::copy(built.join("libsockeye_capi.a"), lib.join("libsockeye.a"))?;
    let version = env!("CARGO_PKG_VERSION");
    // As build.rs of the crate has it.
    let series = version.rsplit_once('.').map_or(version, |(series, _)| series);
    let (full, soname) = (format!("libsockeye.so.{version}"), format!("libsockeye.so.{series}"));
    replace(&built.join("libsockeye_capi.so"), &lib.join(&full))?;
    link(&full, &lib.join(&soname))?;
    link(&soname, &lib.join("libsockeye.so"))?;
    fs::write(lib.join("pkgconfig/sockeye.pc"), pkg_config(&prefix, version)?)?;
    println!("installed libsockeye {version} below {}", place.display());
    Ok(())
}

/// Puts a file in the place of another, which programs may have loaded.
fn replace(from: &Path, to: &Path) -> io::Result<()> {
    let new = to.with_extension("new");
    fs::copy(from, &new)?;
    fs::rename(new, to)
}

fn link(target: &str, at: &Path) -> io::Result<()> {
    match fs::remove_file(at) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => symlink(target, at),
    }
}

fn pkg_config(prefix: &Path, version: &str) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(text, "prefix={}", prefix.display())?;
    writeln!(text, "includedir=${{prefix}}/include")?;
    writeln!(text, "libdir=${{prefix}}/lib")?;
    writeln!(text)?;
    writeln!(text, "Name: sockeye")?;
    writeln!(text, "Description: Sockets in user space, on hosts of networks in memory")?;
    writeln!(text, "Version: {version}")?;
    writeln!(text, "Cflags: -I${{includedir}}")?;
    writeln!(text, "Libs: -L${{libdir}} -lsockeye")?;
    // What rustc says of a static library (`--print native-static-libs`).
    writeln!(text, "Libs.private: -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc")?;
    Ok(text)
}
