use super::surroundings::{control_files_in, ipv6_of, kernel_of, open_files_of, ping_of};
use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn refused(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

#[test]
fn every_shortcoming_says_what_it_means() {
    let findings = examine();
    assert!(findings.len() >= 13, "{findings:#?}");
    for finding in &findings {
        assert!(!finding.found.is_empty(), "{finding:?}");
        assert_eq!(finding.mark == Mark::Ok, finding.advice.is_empty(), "{finding:?}");
    }
    // The tests beside this one run programs, so nothing they need is missing.
    assert!(findings.iter().all(|finding| finding.mark != Mark::Missing), "{findings:#?}");
}

#[test]
fn what_programs_cannot_do_without_is_missing() {
    assert_eq!(notification(&Err(refused(libc::EINVAL))).mark, Mark::Missing);
    assert_eq!(supervised(&Err(refused(libc::EINVAL))).mark, Mark::Ok);
    assert_eq!(notification(&Err(refused(libc::EBUSY))).mark, Mark::Ok);
    assert_eq!(supervised(&Err(refused(libc::EBUSY))).mark, Mark::Missing);
    for scope in [None, Some(1), Some(2), Some(3)] {
        let finding = memory(&Err(refused(libc::EPERM)), scope);
        assert_eq!(finding.mark, Mark::Missing);
        assert_eq!(finding.found.contains("yama"), scope.is_some());
        assert!(finding.advice.ends_with(reach::why_not(scope)), "{finding:?}");
    }
}

#[test]
fn what_programs_can_do_without_is_limited() {
    assert_eq!(wake_up(&Err(refused(libc::EINVAL))).mark, Mark::Limited);
    assert_eq!(descriptors(&Err(refused(libc::EPERM))).mark, Mark::Limited);
    assert_eq!(threads(false).mark, Mark::Limited);
    assert_eq!(privileges(false).mark, Mark::Limited);
    assert_eq!(other_users(true, false).mark, Mark::Limited);
    assert_eq!(other_users(false, false).mark, Mark::Ok);
    let marks = [None, Some(1), Some(5), Some(6), Some(7)].map(|abi| landlock(abi).mark);
    assert_eq!(marks, [Mark::Limited, Mark::Limited, Mark::Limited, Mark::Ok, Mark::Ok]);
}

#[test]
fn kernels_are_old_before_5_14() {
    for (release, mark) in [
        ("5.13.19-generic", Mark::Missing),
        ("4.19.0", Mark::Missing),
        ("5.14.0-503.el9.x86_64", Mark::Ok),
        ("6.6", Mark::Ok),
        ("10.0-rc1", Mark::Ok),
        ("", Mark::Ok),
        ("weird", Mark::Ok),
    ] {
        assert_eq!(kernel_of(release).mark, mark, "{release}");
    }
}

#[test]
fn a_low_limit_is_told_in_connections() {
    let low = open_files_of(Some(1024), Some(1024));
    assert_eq!(
        (low.mark, low.found.as_str()),
        (Mark::Limited, "soft 1024, hard 1024: about 480 connections at once")
    );
    assert_eq!(open_files_of(Some(1024), Some(524_288)).mark, Mark::Ok);
    assert_eq!(open_files_of(Some(0), Some(0)).mark, Mark::Limited);
    assert_eq!(open_files_of(None, None).mark, Mark::Ok);
}

#[test]
fn ping_goes_by_group_or_by_raw_sockets() {
    assert_eq!(ping_of("0\t2147483647\n", &[1000], false).mark, Mark::Ok);
    assert_eq!(ping_of("1\t0\n", &[0, 1000], false).mark, Mark::Limited);
    assert_eq!(ping_of("1\t0\n", &[0], true).mark, Mark::Ok);
    assert_eq!(ping_of("", &[0], false).mark, Mark::Limited);
}

#[test]
fn addresses_of_link_and_loopback_lead_nowhere() {
    let loopback = "00000000000000000000000000000001 01 80 10 80       lo\n";
    let link = "fe80000000000000fc0000fffe000001 02 40 20 80     eth0\n";
    let global = "20010db8000000000000000000000001 02 40 00 80     eth0\n";
    assert_eq!(ipv6_of(None).mark, Mark::Limited);
    assert_eq!(ipv6_of(Some("")).mark, Mark::Limited);
    assert_eq!(ipv6_of(Some(&format!("{loopback}{link}"))).mark, Mark::Limited);
    assert_eq!(ipv6_of(Some(&format!("{loopback}{link}{global}"))).mark, Mark::Ok);
}

#[test]
fn control_files_belong_to_their_user_alone() {
    let folder = std::env::temp_dir().join(format!("sockeye-doctor-{}", std::process::id()));
    let user = rustix::process::geteuid().as_raw();
    assert_eq!(control_files_in(&folder, user).mark, Mark::Ok, "to be made");
    assert!(!folder.exists(), "nothing is made by looking");
    assert_eq!(control_files_in(&folder.join("deeper"), user).mark, Mark::Limited, "no parent");
    fs::write(&folder, "").unwrap();
    assert_eq!(control_files_in(&folder, user).mark, Mark::Limited, "a file");
    fs::remove_file(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    for (mode, mark) in [(0o755, Mark::Limited), (0o700, Mark::Ok)] {
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(control_files_in(&folder, user).mark, mark, "{mode:o}");
    }
    assert_eq!(control_files_in(&folder, user + 1).mark, Mark::Limited, "another user's");
    fs::remove_dir(&folder).unwrap();
}
