# Everything a person or CI does here is one of these targets. They work on a fresh clone: each
# installs the Debian packages it lacks (tools/packages), and cargo fetches the rest.

PREFIX = /usr/local
DESTDIR =
CARGO = cargo
# cargo's own variable decides where things are built, as it does without make.
OUT = $${CARGO_TARGET_DIR:-target}

build: ## release binaries
	$(CARGO) build --release --workspace

demo: ## two network namespaces, three real clients, and the firewall sets that follow them
	@tools/packages demo
	$(CARGO) build --release -p dhcpd -p pfhelper
	@demo/run

demo-pair: ## two hosts with one volume: the primary is killed, the other one takes over
	@tools/packages demo-pair
	$(CARGO) build --release -p hastlite
	@demo/pair

demo-supervise: ## a daemon dies of a stale PID file of another's, and supervise says so
	@tools/packages demo-supervise
	$(CARGO) build --release -p supervise --bins --examples
	@demo/supervise

test: ## every test, those over network namespaces too (as root)
	@tools/packages test
	@tools/fsx >/dev/null
	$(CARGO) test --workspace --no-fail-fast

sim: ## all simulations in turns, until a schedule fails or it is stopped
	@while DHCPD_SIM_COUNT=200000 $(MAKE) --no-print-directory sim-dhcpd && \
		HASTLITE_SIM_COUNT=50000 $(MAKE) --no-print-directory sim-pair && \
		HASTLITE_RUNS=200000 $(MAKE) --no-print-directory sim-primary; do :; done; exit 1

sim-dhcpd: ## dhcpd's leases through crashes of a simulated disk, until a schedule fails
	DHCPD_SIM_COUNT=$${DHCPD_SIM_COUNT:-0} $(CARGO) test --release -p dhcpd --lib \
		crash::tests::q8_no_crash_costs_what_was_acknowledged -- --nocapture

sim-pair: ## hastlite's pair in simulation, until a schedule fails
	HASTLITE_SIM_COUNT=$${HASTLITE_SIM_COUNT:-0} $(CARGO) test --release -p hastlite --lib \
		sim::tests::schedules_from_seeds -- --nocapture

sim-primary: ## hastlite's primary, sector by sector, until a schedule fails
	HASTLITE_RUNS=$${HASTLITE_RUNS:-0} HASTLITE_SEED=$${HASTLITE_SEED:-$$(date +%s%N)} \
		$(CARGO) test --release -p hastlite --lib \
		engine::primary::tests::random::random_schedules -- --nocapture

bench: ## dhcpd beside Kea, ISC dhcpd and the least there could be; then bench-pair, -supervise, -prefork
	@tools/packages bench
	$(CARGO) build --release -p dhcpd -p pfhelper
	@bench/dhcpd
	@$(MAKE) --no-print-directory bench-pair bench-supervise bench-prefork

bench-pair: ## hastlite beside quorum, nbdkit and the least there could be; its resync; migrations
	@tools/packages bench-pair
	$(CARGO) build --release -p hastlite
	$(CARGO) build --release -p proto --example migrate
	@bench/pair

bench-supervise: ## what a wrapper costs 20,000 processes, beside tini and catatonit
	@tools/packages bench-supervise
	$(CARGO) build --release -p supervise --bins --examples
	@bench/supervise

bench-prefork: ## calls of scripts beside the original prefork-interp, and hooks a second
	@tools/packages bench-prefork
	$(CARGO) build --release -p prefork --bins --examples
	@bench/prefork

check-bsd: ## compile, lint and link for FreeBSD, OpenBSD and NetBSD; check their C headers
	@tools/packages bsd
	@tools/check-bsd

fuzz-smoke: ## every fuzz target for SECONDS_EACH (30) seconds
	@tools/packages fuzz
	@tools/fuzz smoke

fmt: ## format the Rust code
	$(CARGO) fmt --all
	$(CARGO) fmt --all --manifest-path fuzz/Cargo.toml

lint: ## format, clippy, shell scripts, man pages: nothing is changed
	@tools/lint

deny: ## licences, sources and duplicates of the dependencies
	@tools/packages deny
	@tools/deny

ci: ## what .ci/run does
	@.ci/run

install: ## into $(DESTDIR)$(PREFIX); build first, as another user if you like
	PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" OUT="$(OUT)" tools/install

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1	\2/p' Makefile

.PHONY: build demo demo-pair demo-supervise test sim sim-dhcpd sim-pair sim-primary bench bench-pair bench-supervise bench-prefork check-bsd fuzz-smoke fmt lint deny ci install help
