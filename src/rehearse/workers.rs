//! Work shared out among threads, a bounded amount at a time.
//!
//! Apart because it is the only place here that knows of threads. What each worker has counted is handed back at the end; it is
//! the caller's affair that the sum does not depend on who did what. Not here: what the work is.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Where pieces of work are put.
#[derive(Debug)]
pub(super) struct Supply<W> {
    sender: SyncSender<W>,
}

impl<W> Supply<W> {
    /// Waits while the workers have enough.
    pub(super) fn give(&self, piece: W) {
        // The workers are gone only if one of them broke down, which the scope tells.
        let _ = self.sender.send(piece);
    }
}

/// How many pieces wait for each worker: enough that none stands idle, few because each may hold a world and a journal.
const WAITING_PER_WORKER: usize = 8;

/// Runs `produce` here and `work` on so many threads; what each of them made of its share. Once somebody is leaving, what is left
/// is let go of.
pub(super) fn share_out<W: Send, T: Default + Send>(
    threads: usize,
    is_leaving: impl Fn() -> bool + Sync,
    work: impl Fn(&mut T, W) + Sync,
    produce: impl FnOnce(&Supply<W>),
) -> Vec<T> {
    let threads = threads.max(1);
    let (sender, receiver) = sync_channel(threads * WAITING_PER_WORKER);
    let inbox = Mutex::new(receiver);
    std::thread::scope(|scope| {
        let worker = || {
            let mut made = T::default();
            while let Some(piece) = next(&inbox) {
                if !is_leaving() {
                    work(&mut made, piece);
                }
            }
            made
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let supply = Supply { sender };
        produce(&supply);
        drop(supply);
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

fn next<W>(inbox: &Mutex<Receiver<W>>) -> Option<W> {
    // A lock that a worker broke down with guards a receiver that is as good as before.
    inbox.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv().ok()
}
