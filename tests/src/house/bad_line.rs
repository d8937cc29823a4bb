//! A line on which things go wrong: what stands between a device and the broker, or between the agent and the NOC.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use vigil_agent::simulate::Chance;

/// How often an end that says nothing is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long a line is dead before it is cut: shorter than anybody's patience.
const DEAD: Duration = Duration::from_millis(1_500);
/// How much goes over a narrow line at once.
const NARROW_BYTES: usize = 256;
/// And how long that takes: some 13 kB/s.
const NARROW_PAUSE: Duration = Duration::from_millis(20);

/// What becomes of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Fine,
    /// Every piece is held up by so many milliseconds.
    Late(u64),
    /// It is cut after so many bytes of the caller: in the middle of a request.
    CutAsking(usize),
    /// It is cut after so many bytes of the answer.
    CutAnswering(usize),
    /// After so many bytes of the caller nothing arrives any more, and nobody is told.
    Dead(usize),
    /// Little goes over it at once.
    Narrow,
}

impl Fate {
    fn drawn(chance: &mut Chance) -> Self {
        let bytes = |chance: &mut Chance| crate::soak::below(chance, 6_000);
        match crate::soak::below(chance, 8) {
            0 | 1 => Self::Fine,
            2 => Self::Late(u64::try_from(crate::soak::below(chance, 120)).unwrap_or(0)),
            3 => Self::CutAsking(bytes(chance)),
            4 | 5 => Self::CutAnswering(bytes(chance) / 2),
            6 => Self::Dead(bytes(chance)),
            _ => Self::Narrow,
        }
    }
}

/// What is shared with its threads.
#[derive(Debug)]
struct State {
    to: Mutex<SocketAddr>,
    calm: AtomicBool,
    over: AtomicBool,
    chance: Mutex<Chance>,
    broken: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A line. What is dropped is cut.
#[derive(Debug)]
pub struct BadLine {
    address: SocketAddr,
    state: Arc<State>,
}

impl BadLine {
    /// A line to `to`. Connection after connection, its fates follow from the seed.
    pub fn to(to: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("a listener has an address");
        let state = Arc::new(State {
            to: Mutex::new(to),
            calm: AtomicBool::new(false),
            over: AtomicBool::new(false),
            chance: Mutex::new(Chance::of(seed, 0)),
            broken: AtomicU64::new(0),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || listen(&listener, &shared));
        Self { address, state }
    }

    /// Where it begins.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it leads there.
    pub fn leads_to(&self, to: SocketAddr) {
        *locked(&self.state.to) = to;
    }

    /// From now on nothing goes wrong; what is going wrong ends at once.
    pub fn is_mended(&self) {
        self.state.calm.store(true, Ordering::Release);
    }

    /// How many connections were broken.
    pub fn broken(&self) -> u64 {
        self.state.broken.load(Ordering::Acquire)
    }
}

impl Drop for BadLine {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::Release);
        // The listener waits for a caller; one that cannot call has nobody waiting.
        let _woken = TcpStream::connect(self.address);
    }
}

fn listen(listener: &TcpListener, state: &Arc<State>) {
    while let Ok((caller, _)) = listener.accept() {
        if state.over.load(Ordering::Acquire) {
            return;
        }
        let fate = if state.calm.load(Ordering::Acquire) {
            Fate::Fine
        } else {
            Fate::drawn(&mut locked(&state.chance))
        };
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            // A connection that fails by itself is what both ends have to live with.
            let _broken = connect(caller, fate, &state);
        });
    }
}

fn connect(caller: TcpStream, fate: Fate, state: &Arc<State>) -> std::io::Result<()> {
    let called = TcpStream::connect(*locked(&state.to))?;
    for end in [&caller, &called] {
        end.set_nodelay(true)?;
        end.set_read_timeout(Some(LOOK))?;
    }
    let (to, from) = (caller.try_clone()?, called.try_clone()?);
    let answering = Arc::clone(state);
    let (asking_cut, answering_cut) = match fate {
        Fate::CutAsking(bytes) | Fate::Dead(bytes) => (Some(bytes), None),
        Fate::CutAnswering(bytes) => (None, Some(bytes)),
        Fate::Fine | Fate::Late(_) | Fate::Narrow => (None, None),
    };
    let answers = std::thread::spawn(move || carry(from, to, fate, answering_cut, &answering));
    let ended = carry(caller.try_clone()?, called.try_clone()?, fate, asking_cut, state);
    if matches!(fate, Fate::Dead(_)) && matches!(ended, Ok(true)) {
        let since = Instant::now();
        while since.elapsed() < DEAD && !state.calm.load(Ordering::Acquire) {
            std::thread::sleep(LOOK);
        }
    }
    for end in [&caller, &called] {
        // One that is gone already is shut.
        let _gone = end.shutdown(Shutdown::Both);
    }
    // How the other direction ended is no news.
    let _ended = answers.join();
    Ok(())
}

/// Carries one direction until an end is gone; true if it was the line that broke.
fn carry(
    mut from: TcpStream,
    mut to: TcpStream,
    fate: Fate,
    mut left: Option<usize>,
    state: &State,
) -> std::io::Result<bool> {
    let mut piece = [0; 4_096];
    loop {
        let calm = state.calm.load(Ordering::Acquire);
        if state.over.load(Ordering::Acquire) {
            return Ok(false);
        }
        let most = if fate == Fate::Narrow && !calm { NARROW_BYTES } else { piece.len() };
        let part = piece.get_mut(..most).unwrap_or_default();
        let count = match from.read(part) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => break,
        };
        let allowed = left.filter(|_| !calm).map_or(count, |left| left.min(count));
        to.write_all(piece.get(..allowed).unwrap_or_default())?;
        if allowed < count {
            state.broken.fetch_add(1, Ordering::AcqRel);
            if !matches!(fate, Fate::Dead(_)) {
                break;
            }
            return Ok(true);
        }
        left = left.map(|left| left.saturating_sub(count));
        match fate {
            _ if calm => {}
            Fate::Late(ms) => std::thread::sleep(Duration::from_millis(ms)),
            Fate::Narrow => std::thread::sleep(NARROW_PAUSE),
            Fate::Fine | Fate::CutAsking(_) | Fate::CutAnswering(_) | Fate::Dead(_) => {}
        }
    }
    for end in [&from, &to] {
        let _gone = end.shutdown(Shutdown::Both);
    }
    Ok(false)
}
