#include "cli/system_main.h"

#include <algorithm>
#include <cctype>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <vector>

#include "base/daemon.h"
#include "base/end_signals.h"
#include "cli/command_line.h"
#include "gdbstub/stub.h"
#include "vm/virtual_machine.h"

namespace doppel::cli {

namespace {

/// One line on standard error, whatever the user's text in it holds.
int complain(const Error& error) {
  std::string line = error.describe();
  std::ranges::replace_if(line, [](char c) { return std::iscntrl(static_cast<unsigned char>(c)) != 0; }, ' ');
  fmt::print(stderr, "doppel: {}\n", line);
  return EXIT_FAILURE;
}

int show(const Printout& printout) {
  fmt::print(printout.to_stderr ? stderr : stdout, "{}", printout.text);
  return printout.status;
}

Result<> open_log(LogSink& sink, const LogOptions& options) {
  if (!options.file.empty())
    if (auto opened = sink.open(options.file); !opened) return std::unexpected(std::move(opened).error().wrap("-D"));
  if (!options.filter.empty()) DOPPEL_TRY(sink.filter(options.filter));
  return sink.enable(options.categories);
}

/// RESULT, whose error names OPTION.
template <class T>
Result<T> for_option(std::string option, Result<T> result) {
  if (!result) return std::unexpected(std::move(result).error().wrap(std::move(option)));
  return result;
}

/// Runs the machine that LINE describes. The order matters: fork before threads and before files that carry the process
/// id, pid file before the parent goes.
Result<int> run_machine(CommandLine line) {
  const vm::ProcessConfig process = line.vm.process;
  std::optional<Daemon> daemon;
  if (process.daemonize) {
    DOPPEL_ASSIGN(daemon, for_option("-daemonize", Daemon::start()));
  }
  LogSink sink;
  DOPPEL_TRY(open_log(sink, line.log));
  for (const std::string& note : line.notes) Logger(sink, "").warn("{}", note);
  std::optional<PidFile> pid_file;
  if (!process.pid_file.empty()) {
    DOPPEL_ASSIGN(auto created, for_option("-pidfile", PidFile::create(process.pid_file)));
    pid_file.emplace(std::move(created));
  }
  event::Loop loop;
  DOPPEL_ASSIGN(auto machine, vm::VirtualMachine::create(std::move(line.vm), loop, sink));
  std::unique_ptr<gdbstub::GdbStub> gdb;
  if (!process.gdb.empty()) {
    DOPPEL_ASSIGN(gdb, gdbstub::GdbStub::create(*machine, process.gdb, Logger(sink, "gdb")));
  }
  std::vector<std::unique_ptr<event::SignalWatch>> signals;
  for (const int signal : kEndSignals) {
    signals.push_back(loop.watch_signal(signal, [&machine] {
      if (machine) machine->quit(EXIT_SUCCESS);
    }));
  }
  signals.push_back(loop.watch_signal(SIGCONT, [&machine] {
    if (machine) machine->retry_disks();
  }));
  if (daemon) DOPPEL_TRY(for_option("-daemonize", daemon->ready()));
  const int status = machine->run();
  gdb.reset();
  machine.reset();  // a signal must not cut short what closes the disks
  block_end_signals();
  return status;
}

}  // namespace

int system_main(std::span<const std::string> arguments) {
  auto line = parse_command_line(arguments);
  if (!line) return complain(line.error());
  if (line->printout) return show(*line->printout);
  std::signal(SIGPIPE, SIG_IGN);  // a client that hangs up is an error of its chardev, not our end
  const auto status = run_machine(std::move(*line));
  return status ? *status : complain(status.error());
}

}  // namespace doppel::cli
