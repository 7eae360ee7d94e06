//! SIGBUS in a mapping: the file under it was truncated, or a page of it cannot be read or made room for.
//!
//! Nothing can be repaired at that point, and nothing may be acknowledged any more. The handler sets a
//! latch that every part of every open journal looks at, writes one fixed line and ends the process
//! with [`EXIT`]. It allocates nothing, takes no lock and returns nowhere.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the process exits with.
pub const EXIT: i32 = 7;

static HIT: AtomicBool = AtomicBool::new(false);

const MESSAGE: &[u8] =
    b"tessera: fail-stop: SIGBUS: a mapped file was truncated or its disk failed; \
nothing after the last acknowledged record is promised\n";

/// True from the moment a SIGBUS has arrived.
pub fn was_hit() -> bool {
    HIT.load(Ordering::Relaxed)
}

/// Takes SIGBUS for the whole process. The handler runs on the alternate stack that every thread of the
/// standard library has.
///
/// # Errors
/// As the operating system says.
#[expect(
    unsafe_code,
    reason = "installing a signal handler is a call of the C library"
)]
pub fn install() -> io::Result<()> {
    // SAFETY: all fields of the C structure are integers or a nullable pointer, for which zero is valid.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(libc::c_int) = on_sigbus;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_ONSTACK;
    // SAFETY: the pointer is to a field of a live structure of ours.
    unsafe { libc::sigfillset(&raw mut action.sa_mask) };
    // SAFETY: the rule at stake is that a handler does only what is safe at any instruction; `on_sigbus`
    // stores to an atomic and makes two system calls. The structure is initialised above and copied by the
    // call. `sigbus::truncation_under_a_mapping_ends_the_process` runs the handler.
    let result = unsafe { libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[expect(
    unsafe_code,
    reason = "a signal handler may only use async-signal-safe calls of the C library"
)]
extern "C" fn on_sigbus(_: libc::c_int) {
    HIT.store(true, Ordering::SeqCst);
    // SAFETY: `write` is async-signal-safe, and the bytes are static.
    unsafe { libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len()) };
    // SAFETY: `_exit` is async-signal-safe and runs nothing else of the program.
    unsafe { libc::_exit(EXIT) };
}
