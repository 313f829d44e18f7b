//! Devices at work: they enroll, renew and are revoked, at whatever server they are led to.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) use device_kit::clients::{Device, Door, PROFILE};

use crate::journal::Journal;

/// Devices that ask at once.
const WORKERS: usize = 6;

/// All devices at work, six at a time: they enroll, then renew again and again; of some the certificate is revoked, and they
/// are done. Until `meanwhile` returns.
pub(crate) fn under_load(door: &impl Door, journal: &Journal, devices: Vec<Device>, meanwhile: impl FnOnce()) {
    let (done, queue) = (AtomicBool::new(false), Mutex::new(VecDeque::from(devices)));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (done, queue) = (&done, &queue);
                scope.spawn(move || {
                    let mut turn = worker;
                    while !done.load(Ordering::SeqCst) {
                        let Some(mut device) = queue.lock().unwrap().pop_front() else {
                            return;
                        };
                        device.persist(door, journal);
                        turn += 1;
                        let plenty = queue.lock().unwrap().len() > 2 * WORKERS;
                        if turn % 5 == 0 && plenty {
                            device.revoked(door, journal);
                        } else {
                            queue.lock().unwrap().push_back(device);
                        }
                    }
                })
            })
            .collect();
        // Whatever becomes of it, the others end.
        let ends = Ends(&done);
        meanwhile();
        drop(ends);
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
