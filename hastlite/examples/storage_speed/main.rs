//! How much the executor of a worker's disk costs over the bare system calls. Run it alone, and where
//! the file should be; it takes half a minute:
//!
//!     TMPDIR=/somewhere cargo run --release -p hastlite --example storage_speed

#[cfg(target_os = "linux")]
mod linux;

fn main() {
    #[cfg(target_os = "linux")]
    linux::main();
    #[cfg(not(target_os = "linux"))]
    println!("the clock of it is Linux's /proc");
}
