//! Header prediction (Van Jacobson, "4BSD TCP Header Prediction", 1990): the short way of a segment that is
//! just what was expected.
//!
//! On an established connection on which nothing is lost, urgent or closing, most segments are the next data,
//! an acknowledgment of all that is in flight, or both. What the steps of RFC 9293 §3.10.7.4 would do with
//! such a segment is done here without looking at what can't be. Everything else goes the long way (`input`),
//! and this is never more than a shortcut: taken or not, the connection ends up the same.

use super::congestion::Congestion;
use super::connection::{Connection, Resources};
use super::recovery::XmitTimer;
use super::seq::SeqNumber;
use super::state::State;
use crate::counters::Counter;
use sockeye_packet::{Instant, Payload};
use sockeye_wire::{TcpFlags, TcpHeader};

impl Connection {
    /// Whether a segment is what was expected, and nothing odd is going on.
    #[inline]
    pub(super) fn is_predicted(&self, header: &TcpHeader, payload_len: usize) -> bool {
        self.state == State::Established
            && header.flags & !TcpFlags::PSH == TcpFlags::ACK
            && SeqNumber(header.seq) == self.rcv_nxt
            && self.acknowledges_as_predicted(header, payload_len)
            && self.continues_as_predicted(payload_len)
            && self.urgent.is_none()
    }

    /// Whether it acknowledges all that is in flight, or brings data and acknowledges nothing new.
    #[inline]
    fn acknowledges_as_predicted(&self, header: &TcpHeader, payload_len: usize) -> bool {
        let ack = SeqNumber(header.ack);
        let in_time = header.options.timestamps.is_none_or(|stamps| self.options.age(stamps) == 0);
        in_time
            && (if ack == self.snd_una { payload_len > 0 } else { self.sent.is_all_one(ack) })
            && self.options.sack
            && header.options.sack.is_empty()
            && self.scoreboard.is_none()
            && self.recovery.is_none()
            && self.snd_wnd > 0
            // One that an embedder brought wants to hear more.
            && !matches!(self.congestion, Congestion::Custom(_))
    }

    /// Whether it has no data, or data that lies in the window, and somebody to read it.
    #[inline]
    fn continues_as_predicted(&self, payload_len: usize) -> bool {
        let deaf = self.flags.orphaned || self.flags.read_shut;
        let gaps = self.rcv_fin.is_some() || self.recv.out_of_order_len() > 0;
        // One that has refused data looks whether there is memory now.
        payload_len <= self.rcv_wnd() as usize && !deaf && !gaps && !self.flags.starved
    }

    /// Takes in a segment that was predicted, which came in a packet with these ECN bits.
    #[inline]
    pub(super) fn take_predicted(
        &mut self,
        now: Instant,
        header: &TcpHeader,
        payload: &mut Payload,
        (gso_size, ecn): (u16, u8),
        resources: &mut Resources<'_>,
    ) {
        self.last_received_at = now;
        self.keep_probes = 0;
        self.window_probes = 0;
        if let Some(stamps) = header.options.timestamps {
            self.options.note_timestamp(now, stamps, self.rcv_nxt, self.acks.last_sent);
        }
        self.options.note_echo(header.options.timestamps);
        if header.ack != self.snd_una.0 {
            self.acknowledge_all(now, header, resources);
        } else if self.is_window_update(header) {
            self.update_window(now, header, resources.settings);
        }
        self.grow_send_buffer(resources);
        if payload.is_empty() {
            resources.counters.bump(Counter::TcpPureAcks);
            return;
        }
        self.ecn.on_data(header.flags, ecn, true, &mut self.acks);
        self.measure_receive(now, header, payload.len());
        self.note_segment_size(payload.len(), gso_size, header.flags);
        self.insert_text(now, self.rcv_nxt, payload, None, resources);
    }

    /// The one record in flight, which was sent once, is acknowledged.
    #[inline]
    fn acknowledge_all(&mut self, now: Instant, header: &TcpHeader, resources: &mut Resources<'_>) {
        let Some(record) = self.sent.take_all_one() else { return };
        let (packets, prior_delivered) = (u32::from(record.packets), self.totals.delivered);
        self.totals.delivered = prior_delivered.wrapping_add(packets);
        self.move_una(now, record.end, record.payload_len());
        self.update_window(now, header, resources.settings);
        let rtt = now.saturating_since(record.sent_at);
        self.rtt.sample(rtt, self.snd_una, self.snd_nxt);
        self.rtt.note_least(now, rtt);
        self.flags.xmit_timer = XmitTimer::Rto;
        self.measure_rate(now, prior_delivered, Some(record.sample()), false);
        self.grow_cwnd(now, packets, packets, Some(rtt));
        self.note_limits(now);
        resources.counters.add(Counter::TcpDelivered, packets.into());
    }
}
