//! Ctrl-C, SIGTERM and SIGHUP.
//!
//! The first asks a run to finish the steps in flight and leave, the second to leave now; both go to whoever listens on the
//! channel. Not here: what stopping means, which the driver knows.

use std::sync::mpsc::Sender;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::warn;

/// Sends `message` for every signal, from a thread of its own, for as long as somebody receives.
pub(super) fn forward<T: Send + 'static>(sender: Sender<T>, message: impl Fn() -> T + Send + 'static) {
    let mut signals = match Signals::new([SIGINT, SIGTERM, SIGHUP]) {
        Ok(signals) => signals,
        // Without handlers a signal kills, which is safe as well.
        Err(error) => return warn!(%error, "signals are not handled"),
    };
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if sender.send(message()).is_err() {
                return;
            }
        }
    });
}
