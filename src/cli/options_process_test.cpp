// -name, -uuid, -rtc, -action, -gdb, -d, -pidfile and their kin.
#include "cli/cli_test_support.h"

namespace doppel::cli {
namespace {

TEST(ProcessOptions, NameAndUuid) {
  const auto config =
      parse_config({"-name", "guest=vm1,debug-threads=off", "-uuid", "550E8400-e29b-41d4-a716-446655440000"});
  EXPECT_EQ(config.process.name, "vm1");
  EXPECT_FALSE(config.process.debug_threads);
  EXPECT_EQ(config.uuid, "550E8400-e29b-41d4-a716-446655440000");
  EXPECT_EQ(parse_config({"-name", "vm2,process=x"}).process.name, "vm2");
  for (const char* bad :
       {"", "550e8400", "550e8400-e29b-41d4-a716-44665544000g", "550e8400e29b-41d4-a716-4466554400000"})
    EXPECT_EQ(error_of({"-uuid", bad}),
              fmt::format("-uuid {}: expected a UUID such as 550e8400-e29b-41d4-a716-446655440000", bad));
}

TEST(ProcessOptions, Rtc) {
  const auto rtc = parse_config({"-rtc", "base=2006-06-17T16:01:21,clock=vm,driftfix=slew"}).rtc;
  EXPECT_EQ(rtc.base, "2006-06-17T16:01:21");
  EXPECT_EQ(rtc.clock, "vm");
  EXPECT_TRUE(rtc.slew);
  EXPECT_EQ(parse_config({"-localtime"}).rtc.base, "localtime");
  EXPECT_EQ(error_of({"-rtc", "base=noon"}),
            "-rtc base=noon: 'noon' is not a base for the clock: expected utc, localtime, or a date such as "
            "2006-06-17T16:01:21");
  EXPECT_EQ(error_of({"-rtc", "clock=wall"}), "-rtc clock=wall: clock= expects host or rt or vm, not 'wall'");
  EXPECT_EQ(error_of({"-rtc", "driftfix=yes"}), "-rtc driftfix=yes: driftfix= expects slew or none, not 'yes'");
}

TEST(ProcessOptions, Actions) {
  const auto action =
      parse_config({"-action", "reboot=shutdown,panic=exit-failure", "-action", "shutdown=pause,watchdog=none"}).action;
  EXPECT_EQ(action.reboot, vm::RebootAction::kShutdown);
  EXPECT_EQ(action.shutdown, vm::ShutdownAction::kPause);
  EXPECT_EQ(action.panic, vm::PanicAction::kExitFailure);
  EXPECT_EQ(action.watchdog, "none");
  const auto older = parse_config({"-no-reboot", "-no-shutdown", "-watchdog-action", "pause"}).action;
  EXPECT_EQ(older.reboot, vm::RebootAction::kShutdown);
  EXPECT_EQ(older.shutdown, vm::ShutdownAction::kPause);
  EXPECT_EQ(older.watchdog, "pause");
  EXPECT_EQ(error_of({"-action", "reboot=stop"}), "-action reboot=stop: reboot= expects reset or shutdown, not 'stop'");
  EXPECT_EQ(error_of({"-action", "rebot=reset"}),
            "-action rebot=reset: there is no key 'rebot' (did you mean 'reboot'?)");
  EXPECT_NE(error_of({"-watchdog-action", "bark"}), "");
}

TEST(ProcessOptions, Gdb) {
  EXPECT_EQ(parse_config({"-s"}).process.gdb, "tcp::1234");
  EXPECT_EQ(parse_config({"-gdb", "unix:/tmp/g"}).process.gdb, "unix:/tmp/g");
  EXPECT_EQ(parse_config({"-s", "-gdb", "none"}).process.gdb, "");
  EXPECT_EQ(error_of({"-gdb", "tcp:1234"}), "-gdb tcp:1234: 'tcp:' expects [HOST]:PORT, not '1234'");
  EXPECT_EQ(error_of({"-gdb", "1234"}), "-gdb 1234: a port is written with its protocol and host: -gdb tcp::1234");
  EXPECT_NE(error_of({"-gdb", "nonsense"}), "");
}

TEST(ProcessOptions, Log) {
  const CommandLine line = parse_line({"-d", "guest_errors,int", "-D", "/tmp/log"});
  EXPECT_EQ(line.log.categories, "guest_errors,int");
  EXPECT_EQ(line.log.file, "/tmp/log");
  EXPECT_EQ(error_of({"-d", "guest_error"}),
            "-d guest_error: unknown log category 'guest_error' (did you mean 'guest_errors'?); '-d help' lists them");
  const Printout help = printout_of({"-d", "help"});
  EXPECT_EQ(help.status, 1) << "as QEMU does";
  EXPECT_TRUE(help.text.starts_with("Log items (comma separated):\n"));
}

TEST(ProcessOptions, LogFilter) {
  EXPECT_EQ(parse_line({"-dfilter", "0x8000..0x8fff,0xf0000+0x10000"}).log.filter, "0x8000..0x8fff,0xf0000+0x10000");
  EXPECT_EQ(
      error_of({"-dfilter", "0x8000"}),
      "-dfilter 0x8000: '0x8000' is not a range of addresses: expected FIRST..LAST, FIRST+SIZE or LAST-SIZE, such "
      "as 0x8000..0x8fff");
  EXPECT_EQ(error_of({"-dfilter", "0x9000..0x8fff"}),
            "-dfilter 0x9000..0x8fff: the range '0x9000..0x8fff' is empty or leaves the 64-bit addresses");
}

TEST(ProcessOptions, Profiles) {
  const auto profile = parse_config({"-perfmap", "-jitdump"}).profile;
  EXPECT_TRUE(profile.perf_map && profile.jit_dump);
  EXPECT_FALSE(parse_config({}).profile.perf_map || parse_config({}).profile.jit_dump);
}

TEST(ProcessOptions, TheRest) {
  const auto process = parse_config({"-S", "-pidfile", "/run/p", "-daemonize"}).process;
  EXPECT_TRUE(process.start_paused && process.daemonize);
  EXPECT_EQ(process.pid_file, "/run/p");
}

}  // namespace
}  // namespace doppel::cli
