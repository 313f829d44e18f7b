//! What the record says of certificates, asked for by many at once and read together.
//!
//! One thread reads. Whoever asks is served by a read that *begins after* the question was put: so nobody hears less than
//! was on record, and answered, before he asked. While one read is under way the next questions gather.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use schema::{StatusRow, Store};

/// Questions that may wait; more are turned away at once.
const WAITING: usize = 4096;
/// Most certificates of one read.
const TOGETHER: usize = 256;

/// Who hears what the record says; `None` when it is not there, an error when it cannot be read.
pub type Hear = Box<dyn FnOnce(Result<Option<StatusRow>, String>) + Send>;

struct Question {
    serial: [u8; 16],
    hear: Hear,
}

/// The reading thread, until dropped.
pub struct Statuses {
    questions: Option<SyncSender<Question>>,
    thread: Option<JoinHandle<()>>,
}

impl Statuses {
    /// Read in `store`, certificates of the issuer with this key identifier.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(store: Store, issuer_key_id: Vec<u8>) -> std::io::Result<Self> {
        let (questions, asked) = sync_channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("statuses".to_owned())
            .spawn(move || read(&store, &issuer_key_id, &asked))?;
        Ok(Self {
            questions: Some(questions),
            thread: Some(thread),
        })
    }

    /// Ask about a certificate; `hear` is called once, on the reading thread or, when too many wait, here.
    pub fn ask(&self, serial: [u8; 16], hear: Hear) {
        let question = Question { serial, hear };
        let refused = match &self.questions {
            Some(questions) => questions.try_send(question).err(),
            None => Some(TrySendError::Disconnected(question)),
        };
        match refused {
            None => {}
            Some(TrySendError::Full(question)) => (question.hear)(Err("too many questions wait".to_owned())),
            Some(TrySendError::Disconnected(question)) => (question.hear)(Err("nobody reads".to_owned())),
        }
    }
}

fn read(store: &Store, issuer_key_id: &[u8], asked: &Receiver<Question>) {
    let mut batch: Vec<Question> = Vec::with_capacity(TOGETHER);
    while let Ok(first) = asked.recv() {
        batch.push(first);
        while batch.len() < TOGETHER
            && let Ok(next) = asked.try_recv()
        {
            batch.push(next);
        }
        // From here on nobody joins: all of the batch asked before the read begins.
        let mut serials: Vec<[u8; 16]> = batch.iter().map(|question| question.serial).collect();
        serials.sort_unstable();
        serials.dedup();
        let found = store.statuses(issuer_key_id, &serials);
        for question in batch.drain(..) {
            (question.hear)(match &found {
                Ok(rows) => Ok(rows.get(&question.serial).copied()),
                Err(error) => Err(error.to_string()),
            });
        }
    }
}

impl Drop for Statuses {
    fn drop(&mut self) {
        self.questions = None;
        if let Some(thread) = self.thread.take()
            // The last owner of the house may be a question that is answered on this very thread.
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}
