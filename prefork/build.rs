//! How prefork-interp is linked where it starts without a C library: Linux on the machines whose
//! system calls it knows. `cfg(quick)` tells the source the same.

fn main() {
    let is = |what: &str, one_of: &[&str]| {
        let value = std::env::var(format!("CARGO_CFG_TARGET_{what}"));
        value.is_ok_and(|value| one_of.contains(&value.as_str()))
    };
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(quick)");
    if is("OS", &["linux"]) && is("ENV", &["gnu"]) && is("ARCH", &["x86_64", "aarch64"]) {
        println!("cargo::rustc-cfg=quick");
        // No first instruction but our own, no loader, and no address that has to be found at start.
        for argument in ["-nostartfiles", "-static", "-no-pie"] {
            println!("cargo::rustc-link-arg-bin=prefork-interp={argument}");
        }
    }
}
