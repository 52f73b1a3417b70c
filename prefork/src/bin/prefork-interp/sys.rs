//! System calls without a C library, the program's first instruction, and the few functions that
//! compiled code takes for granted. Only Linux on x86_64 and aarch64; nothing else knows of them.
//!
//! A call's answer is as the kernel gives it: negative is an error number.

use core::arch::naked_asm;
use core::ffi::CStr;

/// The words of the command line, the environment and what the kernel tells besides, as they lie
/// on the stack of a program that begins.
#[derive(Clone, Copy)]
pub struct Start {
    /// Points to the number of words, after which their pointers come.
    stack: *const usize,
}

/// What the kernel hands over is here.
///
/// The stack pointer is where everything lies; the frame below it is empty, as for any first one.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!("xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {}", "ud2", sym begin)
}

/// As above.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!("mov x29, xzr", "mov x30, xzr", "mov x0, sp", "bl {}", "brk #1", sym begin)
}

extern "C" fn begin(stack: *const usize) -> ! {
    crate::begin(Start { stack })
}

impl Start {
    /// How many words the command line has.
    pub fn words(&self) -> usize {
        // SAFETY: the kernel has put the number there.
        unsafe { *self.stack }
    }

    /// The pointers to the words; a null pointer ends them.
    pub fn argv(&self) -> *const *const u8 {
        // SAFETY: they come right after the number.
        unsafe { self.stack.add(1).cast() }
    }

    /// The pointers to the environment's entries; a null pointer ends them.
    pub fn environment(&self) -> *const *const u8 {
        // SAFETY: they come after the words and their null pointer.
        unsafe { self.argv().add(self.words()).add(1) }
    }

    /// A word of the command line.
    pub fn word(&self, at: usize) -> Option<&'static [u8]> {
        // SAFETY: before the end of the list, which the kernel has made.
        (at < self.words()).then(|| unsafe { text(*self.argv().add(at)) })
    }

    /// An entry of the environment.
    pub fn entry(&self, at: usize) -> Option<&'static [u8]> {
        // SAFETY: callers go through the list from its start and stop at its end.
        let entry = unsafe { *self.environment().add(at) };
        // SAFETY: not the null pointer, so one of the kernel's strings.
        (!entry.is_null()).then(|| unsafe { text(entry) })
    }

    /// One of the numbers the kernel tells a program besides (getauxval(3)).
    pub fn number(&self, kind: usize) -> Option<usize> {
        let mut at = 0;
        while self.entry(at).is_some() {
            at = at.wrapping_add(1);
        }
        // SAFETY: pairs of numbers come after the environment's null pointer; kind 0 ends them.
        unsafe {
            let mut pair: *const usize = self.environment().add(at).add(1).cast();
            while *pair != 0 {
                if *pair == kind {
                    return Some(*pair.add(1));
                }
                pair = pair.add(2);
            }
        }
        None
    }
}

/// # Safety
/// A string that a zero byte ends and that stays.
unsafe fn text(string: *const u8) -> &'static [u8] {
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(string.cast()) }.to_bytes()
}

/// A system call of up to four arguments.
///
/// # Safety
/// As the call has it.
pub unsafe fn call(number: libc::c_long, a: usize, b: usize, c: usize, d: usize) -> isize {
    // SAFETY: the caller's promise.
    unsafe { call6(number, a, b, c, d, 0) }
}

/// # Safety
/// As the call has it.
#[cfg(target_arch = "x86_64")]
pub unsafe fn call6(
    number: libc::c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
) -> isize {
    let answer: isize;
    // SAFETY: the kernel keeps all registers but these; memory is as the caller has promised.
    unsafe {
        core::arch::asm!("syscall", inlateout("rax") number as isize => answer, in("rdi") a,
            in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, lateout("rcx") _, lateout("r11") _,
            options(nostack));
    }
    answer
}

/// # Safety
/// As the call has it.
#[cfg(target_arch = "aarch64")]
pub unsafe fn call6(
    number: libc::c_long,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
) -> isize {
    let answer: isize;
    // SAFETY: the kernel keeps all registers but these; memory is as the caller has promised.
    unsafe {
        core::arch::asm!("svc 0", in("x8") number as isize, inlateout("x0") a as isize => answer,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, options(nostack));
    }
    answer
}

/// Ends the program.
pub fn exit(code: u8) -> ! {
    loop {
        // SAFETY: takes a number, and does not return.
        unsafe { call(libc::SYS_exit_group, usize::from(code), 0, 0, 0) };
    }
}

// What the compiler calls without being asked. Each goes byte by byte through reads and writes that
// it must not put together, or it would see here what it is to call.

/// # Safety
/// As memcpy(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe { forward(to, from, length) };
    to
}

/// # Safety
/// As memmove(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    if to.addr().wrapping_sub(from.addr()) >= length {
        // SAFETY: the caller's promise; no byte is written before it is read.
        unsafe { forward(to, from, length) };
        return to;
    }
    let mut at = length;
    while at > 0 {
        at = at.wrapping_sub(1);
        // SAFETY: the caller's promise; from the end no byte is written before it is read.
        unsafe { to.add(at).write_volatile(from.add(at).read_volatile()) };
    }
    to
}

/// # Safety
/// As memset(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    // SAFETY: the caller's promise; the direction flag is always clear.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _,
            in("al") byte as u8, options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    for at in 0..length {
        // SAFETY: the caller's promise.
        unsafe { to.add(at).write_volatile(byte as u8) };
    }
    to
}

/// # Safety
/// As memcmp(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, other: *const u8, length: usize) -> i32 {
    let mut at = 0;
    while at < length {
        // SAFETY: the caller's promise.
        let (a, b) = unsafe { (one.add(at).read_volatile(), other.add(at).read_volatile()) };
        if a != b {
            return i32::from(a).wrapping_sub(i32::from(b));
        }
        at = at.wrapping_add(1);
    }
    0
}

/// # Safety
/// As bcmp(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(one: *const u8, other: *const u8, length: usize) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { memcmp(one, other, length) }
}

/// # Safety
/// As strlen(3).
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(string: *const u8) -> usize {
    let mut length: usize = 0;
    // SAFETY: the caller's promise: there is a zero byte.
    while unsafe { string.add(length).read_volatile() } != 0 {
        length = length.wrapping_add(1);
    }
    length
}

/// # Safety
/// As memcpy(3), but `from` may lie after `to` and overlap it.
unsafe fn forward(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: the caller's promise; the direction flag is always clear.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _,
            inout("rsi") from => _, options(nostack, preserves_flags));
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let mut at = 0;
        while at < length {
            // SAFETY: the caller's promise.
            unsafe { to.add(at).write_volatile(from.add(at).read_volatile()) };
            at = at.wrapping_add(1);
        }
    }
}
