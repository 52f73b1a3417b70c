# A script of the kind that is worth it: a client of some service, with dates and JSON. As a hook it
# says that it has run. (Lines that end in #prefork are not in the cold one.)
use strict;
use warnings;
use POSIX ();
use LWP::UserAgent;
use HTTP::Request;
use DateTime;
use JSON;
use Proc::Prefork::Interp; #prefork

my $agent = LWP::UserAgent->new(agent => 'tandem');
my $json = JSON->new->canonical;

sub answer {
    my $when = DateTime->from_epoch(epoch => time)->iso8601;
    my $body = $json->encode({ when => $when, words => [@ARGV] });
    return HTTP::Request->new(POST => 'http://localhost/', undef, $body)->as_string;
}

# Some modules load others when they are first used: here, and not in every call.
answer(); #prefork
prefork_initialisation_complete(); #prefork

my $answer = answer();
if (my $path = $ENV{HOOK_LOAD}) {
    open my $fifo, '>>', $path or die "$path: $!\n";
    syswrite $fifo, '.';
}
syswrite STDOUT, "$answer\n";
# At once: what takes an interpreter down again is not what is compared; and the original's server
# would interrupt it, which is no right exit status.
POSIX::_exit(0);
