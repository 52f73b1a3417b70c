/*
 * The numbers that the BSD back ends rely on, proved against the systems' own headers: a wrong one
 * does not compile. tools/check-bsd compiles this file for each system; nothing of it is run.
 * The Rust side asserts the same numbers beside its definitions (pfhelper: pf tables and states;
 * dhcpd: bpf; supervise: kqueue, signals, procctl), so that the two can only be wrong together with this file red.
 */
#include <sys/types.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <sys/ioctl.h>
#include <sys/event.h>
#if defined(__FreeBSD__)
#include <sys/procctl.h>
#endif
#include <signal.h>
#include <net/if.h>
#include <net/bpf.h>
#include <netinet/in.h>
#include <net/pfvar.h>
#include <stddef.h>

#define IS(what, number) \
	_Static_assert((unsigned long long)(what) == (number), #what " is not " #number)
#define BYTES(type, number) IS(sizeof(type), number)
#define AT(type, field, offset, bytes) \
	IS(offsetof(type, field), offset); \
	IS(sizeof(((type *)0)->field), bytes)

/* pf(4): a table, and what every table request carries. One layout on all three systems. */
BYTES(struct pfr_table, 1064);
AT(struct pfr_table, pfrt_anchor, 0, 1024);
AT(struct pfr_table, pfrt_name, 1024, 32);
AT(struct pfr_table, pfrt_flags, 1056, 4);
AT(struct pfr_table, pfrt_fback, 1060, 1);

BYTES(struct pfioc_table, 1104);
AT(struct pfioc_table, pfrio_table, 0, 1064);
AT(struct pfioc_table, pfrio_buffer, 1064, 8);
AT(struct pfioc_table, pfrio_esize, 1072, 4);
AT(struct pfioc_table, pfrio_size, 1076, 4);
AT(struct pfioc_table, pfrio_size2, 1080, 4);
AT(struct pfioc_table, pfrio_nadd, 1084, 4);
AT(struct pfioc_table, pfrio_ndel, 1088, 4);
AT(struct pfioc_table, pfrio_nchange, 1092, 4);
AT(struct pfioc_table, pfrio_flags, 1096, 4);
AT(struct pfioc_table, pfrio_ticket, 1100, 4);

IS(DIOCRCLRADDRS, 0xc4504442);
IS(DIOCRADDADDRS, 0xc4504443);
IS(DIOCRDELADDRS, 0xc4504444);
IS(DIOCRSETADDRS, 0xc4504445);
IS(DIOCRGETADDRS, 0xc4504446);
IS(DIOCRTSTADDRS, 0xc4504449);
IS(PF_TABLE_NAME_SIZE, 32);
IS(PFR_FLAG_FEEDBACK, 4);
IS(AF_INET, 2);

/* pf(4): an address of a table. OpenBSD's has an interface, a count and a weight more. */
#ifdef __OpenBSD__
BYTES(struct pfr_addr, 52);
AT(struct pfr_addr, pfra_ip4addr, 0, 4);
AT(struct pfr_addr, pfra_ifname, 16, 16);
AT(struct pfr_addr, pfra_states, 32, 4);
AT(struct pfr_addr, pfra_weight, 36, 2);
AT(struct pfr_addr, pfra_af, 38, 1);
AT(struct pfr_addr, pfra_net, 39, 1);
AT(struct pfr_addr, pfra_not, 40, 1);
AT(struct pfr_addr, pfra_fback, 41, 1);
AT(struct pfr_addr, pfra_type, 42, 1);
#else
BYTES(struct pfr_addr, 20);
AT(struct pfr_addr, pfra_ip4addr, 0, 4);
AT(struct pfr_addr, pfra_af, 16, 1);
AT(struct pfr_addr, pfra_net, 17, 1);
AT(struct pfr_addr, pfra_not, 18, 1);
AT(struct pfr_addr, pfra_fback, 19, 1);
#endif

/* pf(4): killing states. FreeBSD wants a packed nv(9) list for that. */
#ifdef __OpenBSD__
BYTES(struct pfioc_state_kill, 224);
AT(struct pfioc_state_kill, psk_af, 16, 1);
AT(struct pfioc_state_kill, psk_proto, 20, 4);
AT(struct pfioc_state_kill, psk_src, 24, 56);
AT(struct pfioc_state_kill, psk_dst, 80, 56);
AT(struct pf_rule_addr, addr.v.a.addr, 0, 16);
AT(struct pf_rule_addr, addr.v.a.mask, 16, 16);
IS(PF_ADDR_ADDRMASK, 0);
IS(DIOCKILLSTATES, 0xc0e04429);
#endif
#ifdef __FreeBSD__
BYTES(struct pfioc_nv, 24);
AT(struct pfioc_nv, data, 0, 8);
AT(struct pfioc_nv, len, 8, 8);
AT(struct pfioc_nv, size, 16, 8);
IS(PF_ADDR_ADDRMASK, 0);
IS(DIOCKILLSTATESNV, 0xc0184429);
#endif

/* bpf(4): what precedes each packet. Readers step by bh_hdrlen; they never use the size. */
#ifdef __OpenBSD__
BYTES(struct bpf_hdr, 28);
AT(struct bpf_hdr, bh_caplen, 8, 4);
AT(struct bpf_hdr, bh_datalen, 12, 4);
AT(struct bpf_hdr, bh_hdrlen, 16, 2);
IS(BPF_ALIGNMENT, 4);
#else
BYTES(struct bpf_hdr, 32);
AT(struct bpf_hdr, bh_caplen, 16, 4);
AT(struct bpf_hdr, bh_datalen, 20, 4);
AT(struct bpf_hdr, bh_hdrlen, 24, 2);
IS(BPF_ALIGNMENT, 8);
#endif

/* bpf(4): requests. */
IS(BIOCGBLEN, 0x40044266);
IS(BIOCSBLEN, 0xc0044266);
IS(BIOCSETF, 0x80104267);
IS(BIOCFLUSH, 0x20004268);
IS(BIOCGDLT, 0x4004426a);
IS(BIOCIMMEDIATE, 0x80044270);
IS(BIOCVERSION, 0x40044271);
IS(BIOCSHDRCMPLT, 0x80044275);
BYTES(struct bpf_program, 16);
AT(struct bpf_program, bf_insns, 8, 8);
BYTES(struct bpf_insn, 8);
AT(struct ifreq, ifr_name, 0, 16);
#if defined(__FreeBSD__)
IS(BIOCSETIF, 0x8020426c);
IS(BIOCSETWF, 0x8010427b);
IS(BIOCLOCK, 0x2000427a);
IS(BIOCSDIRECTION, 0x80044277);
IS(BPF_D_IN, 0);
IS(BPF_D_INOUT, 1);
BYTES(struct ifreq, 32);
#elif defined(__OpenBSD__)
IS(BIOCSETIF, 0x8020426c);
IS(BIOCSETWF, 0x80104277);
IS(BIOCLOCK, 0x20004276);
IS(BIOCSDIRFILT, 0x8004427d);
IS(BPF_DIRECTION_IN, 1);
IS(BPF_DIRECTION_OUT, 2);
BYTES(struct ifreq, 32);
#elif defined(__NetBSD__)
IS(BIOCSETIF, 0x8090426c);
IS(BIOCLOCK, 0x2000427e);
IS(BIOCSDIRECTION, 0x80044279);
BYTES(struct ifreq, 144);
#endif

/*
 * kqueue(2). NetBSD's headers of today have four words more at the end than NetBSD 10's, which the
 * libc crate speaks (and calls by the older name): what precedes them has not moved.
 */
AT(struct kevent, ident, 0, 8);
IS(EV_ADD, 1);
IS(EV_DELETE, 2);
IS(EV_ENABLE, 4);
IS(EV_ONESHOT, 0x10);
IS(NOTE_EXIT, 0x80000000);
IS(NOTE_FORK, 0x40000000);
IS(NOTE_EXEC, 0x20000000);
IS(NOTE_TRACK, 1);
IS(NOTE_TRACKERR, 2);
IS(NOTE_CHILD, 4);
#if defined(__NetBSD__)
AT(struct kevent, filter, 8, 4);
AT(struct kevent, flags, 12, 4);
AT(struct kevent, fflags, 16, 4);
AT(struct kevent, data, 24, 8);
AT(struct kevent, udata, 32, 8);
IS(EVFILT_READ, 0);
IS(EVFILT_PROC, 4);
IS(EVFILT_SIGNAL, 5);
#else
AT(struct kevent, filter, 8, 2);
AT(struct kevent, flags, 10, 2);
AT(struct kevent, fflags, 12, 4);
AT(struct kevent, data, 16, 8);
AT(struct kevent, udata, 24, 8);
IS(EVFILT_READ, (unsigned long long)-1);
IS(EVFILT_PROC, (unsigned long long)-5);
IS(EVFILT_SIGNAL, (unsigned long long)-6);
#endif
#if defined(__FreeBSD__)
BYTES(struct kevent, 64);
#elif defined(__OpenBSD__)
BYTES(struct kevent, 32);
#endif

/* Who sent a signal: supervise reads these where they are, and tells the codes apart. */
#if defined(__FreeBSD__)
AT(siginfo_t, si_code, 8, 4);
AT(siginfo_t, si_pid, 12, 4);
AT(siginfo_t, si_uid, 16, 4);
IS(SI_USER, 0x10001);
IS(SI_QUEUE, 0x10002);
IS(SI_LWP, 0x10007);
#else
AT(siginfo_t, si_code, 4, 4);
AT(siginfo_t, si_pid, 16, 4);
AT(siginfo_t, si_uid, 20, 4);
IS(SI_USER, 0);
#if defined(__OpenBSD__)
IS(SI_LWP, (unsigned long long)-1);
IS(SI_QUEUE, (unsigned long long)-2);
#else
IS(SI_QUEUE, (unsigned long long)-1);
IS(SI_LWP, (unsigned long long)-5);
#endif
#endif

/* procctl(2): the reaper that supervise is. */
#if defined(__FreeBSD__)
IS(PROC_REAP_ACQUIRE, 2);
IS(PROC_REAP_STATUS, 4);
IS(PROC_REAP_KILL, 6);
BYTES(struct procctl_reaper_status, 80);
AT(struct procctl_reaper_status, rs_descendants, 8, 4);
BYTES(struct procctl_reaper_kill, 80);
AT(struct procctl_reaper_kill, rk_sig, 0, 4);
AT(struct procctl_reaper_kill, rk_flags, 4, 4);
AT(struct procctl_reaper_kill, rk_subtree, 8, 4);
#endif
