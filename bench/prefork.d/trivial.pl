# A script that costs nothing but its interpreter. (Lines that end in #prefork are not in the cold one.)
use Proc::Prefork::Interp; #prefork
prefork_initialisation_complete(); #prefork
syswrite STDOUT, "ok\n";
POSIX::_exit(0); #prefork
