//! The parity suite: one set of bodies for `std::net`, tokio, and Sockeye's sockets, blocking and async, in
//! real time and in a simulation.
//!
//! Each case is written once, against the traits in `api`, and listed once, in the table below. It says what
//! `std` and tokio do on the machine's loopback; Sockeye must do the same, between two hosts, over one host's
//! loopback, and in simulations. `differences` lists what is otherwise by design.
//!
//! Names of tests are `IMPLEMENTATION::SUBJECT::CASE`, so `cargo test -p sockeye --all-features --test parity --
//! std::` or `-- ::udp::` runs a part. At the end it prints how many cases each implementation passed.

#![deny(unconditional_recursion, reason = "an implementation lacks a method that the traits have")]

mod api;
mod cases;
mod differences;
mod harness;

use api::asynchronous::Tokio;
use api::blocking::Std;
use api::sockeye::{Hosts, SockeyeBlocking, network};
use api::{Asynchronous, Blocking};
use harness::{Leg, Suite};
use std::future::Future;

/// Lists the cases of each subject, by what they need.
macro_rules! table {
    ($($subject:ident { $(all: $($all:ident)*;)? $(blocking: $($blocking:ident)*;)? $(asynchronous: $($async:ident)*;)? })*) => {
        /// Adds the cases that every implementation has.
        fn all<L: Leg>(suite: &mut Suite) {
            $($($(suite.add::<L, _>(stringify!($subject), stringify!($all), |api| async move {
                cases::$subject::$all(&api).await;
            });)*)?)*
        }

        /// Adds the cases that only blocking implementations have.
        fn blocking<L: Leg<Api: Blocking>>(suite: &mut Suite) {
            $($($(suite.add::<L, _>(stringify!($subject), stringify!($blocking), |api| async move {
                cases::$subject::$blocking(&api).await;
            });)*)?)*
        }

        /// Adds the cases that only async implementations have.
        fn asynchronous<L: Leg<Api: Asynchronous>>(suite: &mut Suite) {
            $($($(suite.add::<L, _>(stringify!($subject), stringify!($async), |api| async move {
                cases::$subject::$async(&api).await;
            });)*)?)*
        }
    };
}

table! {
    connect {
        all: both_ends_agree_on_addresses port_zero_picks_ports nobody_listens_is_refused
            port_zero_is_refused the_first_address_that_answers_is_taken no_address_is_invalid_input
            the_last_error_is_told an_address_in_use_is_told a_foreign_address_is_told
            an_address_is_free_after_close the_unspecified_address_listens_everywhere
            connections_have_ports_of_their_own connections_are_accepted_in_order
            data_waits_with_its_connection a_closed_listener_refuses a_closed_listener_resets_who_waits
            accepted_connections_outlive_their_listener multicast_is_unreachable
            accept_waits_for_a_connection;
        blocking: connect_timeout_connects connect_timeout_of_zero_is_invalid connect_timeout_is_refused
            incoming_yields_connections;
    }
    sockets {
        all: a_socket_listens a_socket_connects a_client_may_choose_its_port a_fresh_socket_has_no_address
            a_bound_socket_refuses a_socket_binds_once a_bound_address_is_in_use
            reuseaddr_shares_until_one_listens reuseport_shares_a_port
            without_reuseaddr_time_wait_keeps_the_address an_unbound_socket_listens_anywhere
            a_refused_socket_is_told a_socket_connects_to_itself a_connected_port_is_in_use_by_its_pair_only;
    }
    stream {
        all: bytes_arrive_in_order a_read_takes_what_fits a_read_does_not_wait_for_a_full_buffer
            the_end_of_file_stays data_before_the_end_is_read_first a_half_closed_connection_answers
            the_server_may_end_first megabytes_pass_a_half_closed_connection
            a_write_after_shutdown_is_a_broken_pipe writing_nothing_does_nothing
            reading_into_nothing_takes_nothing flush_has_nothing_to_do read_exact_tells_an_early_end
            read_exact_collects_pieces a_read_waits_for_data a_close_ends_a_read a_write_waits_for_a_reader
            questions_and_answers_alternate both_directions_flow_at_once single_bytes_arrive;
        blocking: shared_references_read_and_write a_blocking_write_takes_everything;
    }
    vectored {
        all: slices_are_joined empty_slices_add_nothing more_slices_than_the_kernel_takes
            large_slices_are_written_in_part_or_whole buffers_are_filled_in_order
            empty_buffers_are_passed_over a_vectored_read_sees_the_end;
        asynchronous: tries_take_several_buffers vectored_writes_are_announced;
    }
    peek {
        all: peeked_data_stays a_short_peek_sees_the_front peek_sees_the_end peek_waits_for_data
            peek_tells_a_reset peeked_datagrams_stay a_short_peek_leaves_the_datagram_whole
            connected_udp_peeks;
        blocking: peek_obeys_the_read_timeout;
    }
    shutdown {
        all: shutting_down_twice_is_fine shutting_down_after_the_peer_ends_both
            what_was_written_goes_before_the_end;
        blocking: both_ends_both_directions a_read_that_was_shut_down_ends
            data_passes_a_read_that_was_shut_down a_shutdown_ends_a_read_in_another_thread
            a_shutdown_ends_a_write_in_another_thread directions_are_shut_down_one_by_one
            after_both_ends_nothing_is_connected;
    }
    linger {
        all: zero_linger_resets what_arrived_before_a_reset_is_read a_zero_linger_of_the_server_resets
            closing_delivers_what_was_written closing_delivers_to_a_late_reader a_linger_time_delivers_too;
    }
    errors {
        all: a_close_with_unread_data_resets a_reset_is_told_once a_reset_connection_has_no_peer
            take_error_takes_the_reset a_healthy_connection_has_no_error
            writing_to_a_closed_peer_breaks_the_pipe a_reset_ends_a_read a_reset_ends_a_write
            data_before_a_reset_is_read_first a_refusal_leaves_no_socket errors_say_what_happened
            a_failed_bind_leaves_the_address both_ends_may_close_at_once;
        blocking: a_timed_out_read_is_would_block shutting_down_a_reset_connection_fails;
        asynchronous: a_reset_connection_may_be_shut_down;
    }
    options {
        all: nodelay_is_off_until_set ttl_of_a_stream a_ttl_out_of_range_is_invalid ttl_of_a_listener
            ttl_of_a_udp_socket linger_is_off_until_set broadcast_is_off_until_set keepalive_is_off_until_set
            reuse_is_off_until_set buffer_sizes_are_doubled tiny_buffer_sizes_are_raised
            options_last_from_socket_to_stream accepted_streams_inherit_nodelay
            accepted_streams_inherit_the_ttl;
        blocking: a_listener_has_no_error clones_share_options;
    }
    timeouts {
        blocking: there_is_no_timeout_until_set a_timeout_of_zero_is_invalid a_read_waits_its_timeout
            a_timeout_can_be_shorter_than_a_microsecond a_timed_out_connection_lives data_in_time_is_read
            a_write_waits_its_timeout clones_share_timeouts;
    }
    nonblocking {
        blocking: reads_would_block the_end_of_file_does_not_block writes_would_block accepts_would_block
            accepted_streams_block clones_share_the_mode resets_are_told;
    }
    clones {
        blocking: a_clone_is_the_same_connection the_last_clone_closes a_shutdown_is_every_clones
            two_readers_share_the_bytes two_writers_do_not_mix_small_writes
            one_clone_reads_while_another_writes a_cloned_listener_accepts peeks_of_clones_see_the_same;
    }
    readiness {
        asynchronous: a_try_without_data_would_block readable_comes_with_data readable_comes_with_the_end
            readable_comes_with_a_reset a_fresh_connection_is_writable writable_comes_with_room
            a_try_takes_what_fits a_try_write_after_shutdown_breaks_the_pipe
            poll_accept_pends_until_somebody_comes reading_and_writing_are_selected
            several_tasks_wait_for_one_socket accept_is_selected_among_listeners;
    }
    split {
        asynchronous: borrowed_halves_work_at_once a_borrowed_split_ends_nothing
            owned_halves_work_in_two_tasks a_dropped_writer_ends_its_direction
            a_forgotten_writer_ends_nothing a_dropped_reader_leaves_the_writer halves_reunite
            strangers_do_not_reunite halves_know_their_addresses halves_peek_and_try;
    }
    cancellation {
        asynchronous: a_cancelled_read_loses_nothing reads_may_be_cancelled_again_and_again
            a_cancelled_write_wrote_nothing a_cancelled_accept_loses_no_connection
            a_cancelled_receive_loses_no_datagram a_cancelled_connect_leaves_the_listener
            a_cancelled_wait_takes_no_wake_away the_loser_of_a_select_loses_nothing
            an_aborted_task_closes_its_socket an_aborted_listener_refuses a_panic_closes_the_socket;
    }
    transfers {
        all: megabytes_to_the_server megabytes_to_the_client odd_sizes_both_sides an_echo_returns_everything
            many_connections_at_once connections_in_a_row connections_do_not_mix a_full_backlog_empties
            accepting_is_shared a_chain_of_proxies;
        asynchronous: copy_bidirectional_joins_two;
    }
    udp {
        all: datagrams_keep_their_borders what_does_not_fit_is_lost an_empty_buffer_takes_a_datagram
            answers_go_back the_largest_datagram_passes a_longer_one_is_refused
            connected_sockets_send_and_receive a_connected_socket_hears_only_its_peer
            a_socket_may_change_its_peer a_connected_socket_may_send_elsewhere no_peer_is_not_connected
            sending_without_a_peer_fails connecting_chooses_the_source nobody_there_is_told_to_the_receiver
            nobody_there_is_told_once nobody_there_is_told_to_the_next_sender
            nobody_there_is_not_told_without_a_peer an_address_in_use_is_told an_address_is_free_after_close
            the_unspecified_address_receives_everywhere the_best_match_receives tcp_and_udp_ports_are_apart
            broadcast_needs_permission a_broadcast_is_received port_zero_is_invalid hundreds_keep_their_order
            a_full_queue_keeps_the_oldest a_receive_waits receivers_share_a_socket senders_share_a_socket;
        blocking: clones_share_the_queue receiving_times_out write_timeouts_are_kept
            nonblocking_receives_do_not_wait;
        asynchronous: tries_do_not_wait connected_tries_do_not_wait the_sender_is_peeked_at;
    }
    names {
        all: a_name_is_connected_to a_name_and_port_in_one_text names_ignore_case localhost_is_bound_to
            addresses_are_written_as_text ipv6_addresses_stand_in_brackets a_text_without_port_is_invalid
            a_port_that_is_no_number_is_invalid datagrams_are_sent_to_names
            a_datagram_goes_to_the_first_address;
    }
    ipv6 {
        all: both_ends_agree_on_addresses megabytes_arrive nobody_listens_is_refused
            listeners_of_both_families_share_a_port an_address_of_one_family_is_not_the_others
            a_dual_listener_accepts_both a_dual_listener_takes_the_port_of_both
            only_v6_leaves_the_other_family a_mapped_address_connects_to_ipv4 datagrams_arrive
            a_large_datagram_arrives a_dual_udp_socket_talks_to_both nobody_there_is_told
            an_ipv4_socket_has_no_way_to_ipv6 ttl_is_the_hop_limit_of_mapped_peers addresses_have_no_scope;
    }
}

/// Blocking implementations run a case by polling it once.
fn run_blocking(work: impl Future<Output = ()>) {
    api::blocking::run(work);
}

impl Leg for Std {
    type Api = Std;
    const NAME: &str = "std";

    fn run<W: Future<Output = ()> + Send + 'static>(case: impl FnOnce(Std) -> W) {
        run_blocking(case(Std::new()));
    }
}

impl Leg for Tokio {
    type Api = Tokio;
    const NAME: &str = "tokio";

    fn run<W: Future<Output = ()> + Send + 'static>(case: impl FnOnce(Tokio) -> W) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { case(Tokio::new()).await });
    }
}

/// Sockeye's blocking sockets in real time, between two hosts.
struct SockeyeTwo;

impl Leg for SockeyeTwo {
    type Api = SockeyeBlocking;
    const NAME: &str = "sockeye_blocking";

    fn run<W: Future<Output = ()> + Send + 'static>(case: impl FnOnce(SockeyeBlocking) -> W) {
        run_blocking(case(SockeyeBlocking(Hosts::two(&network().build().unwrap()))));
    }
}

/// The same over one host's loopback.
struct SockeyeOne;

impl Leg for SockeyeOne {
    type Api = SockeyeBlocking;
    const NAME: &str = "loopback_blocking";

    fn run<W: Future<Output = ()> + Send + 'static>(case: impl FnOnce(SockeyeBlocking) -> W) {
        run_blocking(case(SockeyeBlocking(Hosts::one(&network().build().unwrap()))));
    }
}

/// The async legs, which features bring.
#[cfg(feature = "tokio")]
mod asynchronous_legs {
    use crate::api::sockeye::{Hosts, network};
    use crate::api::sockeye_async::SockeyeAsync;
    use crate::harness::Leg;
    use std::future::Future;

    /// Sockeye's async sockets in real time, between two hosts.
    pub(crate) struct Two;

    impl Leg for Two {
        type Api = SockeyeAsync;
        const NAME: &str = "sockeye_async";

        fn run<W: Future<Output = ()> + Send + 'static>(case: impl FnOnce(SockeyeAsync) -> W) {
            in_threads(case(SockeyeAsync(Hosts::two(&network().build().unwrap()))));
        }
    }

    /// The same over one host's loopback.
    pub(crate) struct One;

    impl Leg for One {
        type Api = SockeyeAsync;
        const NAME: &str = "loopback_async";

        fn run<W: Future<Output = ()> + Send + 'static>(case: impl FnOnce(SockeyeAsync) -> W) {
            in_threads(case(SockeyeAsync(Hosts::one(&network().build().unwrap()))));
        }
    }

    /// Runs a case as a task of a runtime with two threads: its own tasks may run at the same time.
    fn in_threads(case: impl Future<Output = ()> + Send + 'static) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        if let Err(error) = runtime.block_on(runtime.spawn(case)) {
            std::panic::resume_unwind(error.into_panic());
        }
    }

    /// Sockeye's async sockets in a simulation.
    #[cfg(feature = "simulation")]
    pub(crate) struct Simulated;

    #[cfg(feature = "simulation")]
    impl Leg for Simulated {
        type Api = SockeyeAsync;
        const NAME: &str = "simulation";

        fn run<W: Future<Output = ()> + Send + 'static>(case: impl FnOnce(SockeyeAsync) -> W) {
            simulated(network(), case);
        }
    }

    /// The same, between hosts that are far apart.
    #[cfg(feature = "simulation")]
    pub(crate) struct Distant;

    #[cfg(feature = "simulation")]
    impl Leg for Distant {
        type Api = SockeyeAsync;
        const NAME: &str = "simulation_delayed";

        fn run<W: Future<Output = ()> + Send + 'static>(case: impl FnOnce(SockeyeAsync) -> W) {
            let link: sockeye::NetemConfig = "delay 20ms".parse().unwrap();
            let config = sockeye::HostConfig { link: link.into(), ..sockeye::HostConfig::default() };
            let network = sockeye::Network::builder().host("server", config.clone()).host("client", config);
            simulated(network, case);
        }
    }

    #[cfg(feature = "simulation")]
    fn simulated<W: Future<Output = ()>>(
        network: sockeye::NetworkBuilder,
        case: impl FnOnce(SockeyeAsync) -> W,
    ) {
        let mut simulation = network.seed(1).simulate().unwrap();
        let hosts = Hosts::two(simulation.network());
        simulation.block_on(case(SockeyeAsync(hosts))).unwrap();
    }
}

fn main() {
    let mut suite = Suite::new();
    all::<Std>(&mut suite);
    blocking::<Std>(&mut suite);
    all::<Tokio>(&mut suite);
    asynchronous::<Tokio>(&mut suite);
    all::<SockeyeTwo>(&mut suite);
    blocking::<SockeyeTwo>(&mut suite);
    all::<SockeyeOne>(&mut suite);
    blocking::<SockeyeOne>(&mut suite);
    #[cfg(feature = "tokio")]
    {
        all::<asynchronous_legs::Two>(&mut suite);
        asynchronous::<asynchronous_legs::Two>(&mut suite);
        all::<asynchronous_legs::One>(&mut suite);
        asynchronous::<asynchronous_legs::One>(&mut suite);
    }
    #[cfg(feature = "simulation")]
    {
        all::<asynchronous_legs::Simulated>(&mut suite);
        asynchronous::<asynchronous_legs::Simulated>(&mut suite);
        all::<asynchronous_legs::Distant>(&mut suite);
        asynchronous::<asynchronous_legs::Distant>(&mut suite);
    }
    suite.run();
}
