//! Numbers of this machine on the BSDs: sysctl(3).

use std::ffi::CStr;

/// Bytes of what is asked for, at most.
const ROOM: usize = 256;

#[cfg(target_os = "freebsd")]
const UUID: &CStr = c"kern.hostuuid";
/// From `sys/sysctl.h`.
#[cfg(target_os = "openbsd")]
const HW_UUID: libc::c_int = 18;
#[cfg(target_os = "netbsd")]
const UUID: &CStr = c"machdep.dmi.system-uuid";

/// The host's UUID.
pub fn uuids() -> Vec<String> {
    let mut value = [0_u8; ROOM];
    let Some(len) = uuid(&mut value) else { return Vec::new() };
    let text = CStr::from_bytes_until_nul(value.get(..len).unwrap_or_default());
    let text = text.ok().and_then(|text| text.to_str().ok()).map(str::to_owned);
    text.filter(|id| id.len() >= 32).into_iter().collect()
}

#[cfg(not(target_os = "openbsd"))]
fn uuid(value: &mut [u8; ROOM]) -> Option<usize> {
    let mut len = value.len();
    // SAFETY: the name ends with a NUL, and `len` bytes may be written to `value`.
    let result = unsafe {
        libc::sysctlbyname(
            UUID.as_ptr(),
            value.as_mut_ptr().cast(),
            &mut len,
            std::ptr::null_mut(),
            0,
        )
    };
    (result == 0).then_some(len)
}

#[cfg(target_os = "openbsd")]
fn uuid(value: &mut [u8; ROOM]) -> Option<usize> {
    let name = [libc::CTL_HW, HW_UUID];
    let mut len = value.len();
    // SAFETY: the name is two integers, and `len` bytes may be written to `value`.
    let result = unsafe {
        libc::sysctl(
            name.as_ptr(),
            name.len() as libc::c_uint,
            value.as_mut_ptr().cast(),
            &mut len,
            std::ptr::null_mut(),
            0,
        )
    };
    (result == 0).then_some(len)
}

/// What gethostid(3) says, if it was ever set.
#[cfg(not(target_os = "openbsd"))]
pub fn hostid() -> Option<u32> {
    // SAFETY: takes nothing, and cannot fail.
    let id = unsafe { libc::gethostid() };
    u32::try_from(id & 0xffff_ffff).ok().filter(|id| *id != 0)
}

/// What sysctl(2) says, if it was ever set.
#[cfg(target_os = "openbsd")]
pub fn hostid() -> Option<u32> {
    let name = [libc::CTL_KERN, libc::KERN_HOSTID];
    let mut id: libc::c_int = 0;
    let mut len = std::mem::size_of::<libc::c_int>();
    // SAFETY: the name is two integers, and `len` bytes may be written to `id`.
    let result = unsafe {
        libc::sysctl(
            name.as_ptr(),
            name.len() as libc::c_uint,
            std::ptr::from_mut(&mut id).cast(),
            &mut len,
            std::ptr::null_mut(),
            0,
        )
    };
    (result == 0 && id != 0).then_some(id as u32)
}
