//! Who logged in: the kernel's word, which `su` and `sudo` do not change.

/// The login uid of this process (`/proc/self/loginuid`, audit(7)); none where the kernel keeps none.
#[must_use]
pub fn login_uid() -> Option<u32> {
    std::fs::read_to_string("/proc/self/loginuid").ok()?.trim().parse().ok()
}
