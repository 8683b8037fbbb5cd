#include "cli/system_main.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "cli/command_line.h"
#include "cli/daemon.h"
#include "vm/virtual_machine.h"

namespace doppel::cli {

namespace {

int complain(const Error& error) {
  fmt::print(stderr, "doppel: {}\n", error.describe());
  return EXIT_FAILURE;
}

Result<> open_log(LogSink& sink, const LogOptions& options) {
  if (!options.file.empty()) DOPPEL_TRY(sink.open(options.file));
  if (!options.categories.empty()) DOPPEL_TRY(sink.enable(options.categories));
  return {};
}

/// Runs the machine that LINE describes. The order matters: fork before threads, pid file before the parent goes.
Result<int> run_machine(CommandLine line, LogSink& sink) {
  const vm::ProcessConfig process = line.vm.process;
  std::optional<Daemon> daemon;
  if (process.daemonize) {
    DOPPEL_ASSIGN(daemon, Daemon::start());
  }
  std::optional<PidFile> pid_file;
  if (!process.pid_file.empty()) {
    DOPPEL_ASSIGN(auto created, PidFile::create(process.pid_file));
    pid_file.emplace(std::move(created));
  }
  event::Loop loop;
  DOPPEL_ASSIGN(const auto machine, vm::VirtualMachine::create(std::move(line.vm), loop, sink));
  std::vector<std::unique_ptr<event::SignalWatch>> signals;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP})
    signals.push_back(loop.watch_signal(signal, [&machine] { machine->quit(EXIT_SUCCESS); }));
  if (daemon) DOPPEL_TRY(daemon->ready());
  return machine->run();
}

}  // namespace

int system_main(std::span<const std::string> arguments) {
  auto line = parse_command_line(arguments);
  if (!line) return complain(line.error());
  if (line->printout) {
    fmt::print("{}", line->printout->text);
    return line->printout->status;
  }
  LogSink sink;
  if (const auto opened = open_log(sink, line->log); !opened) return complain(opened.error());
  const Logger log(sink, "");
  for (const std::string& note : line->notes) log.warn("{}", note);
  const auto status = run_machine(std::move(*line), sink);
  return status ? *status : complain(status.error());
}

}  // namespace doppel::cli
