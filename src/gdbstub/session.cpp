#include "gdbstub/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

namespace doppel::gdbstub {

using vm::CpuRun;

namespace {

constexpr std::string_view kBadArgument = "E16";  // EINVAL

/// An Error as gdb shows it: E and an errno value in hexadecimal.
std::string error_reply(const Error& error) {
  switch (error.kind()) {
    case ErrorKind::kInvalidArgument: return std::string(kBadArgument);
    case ErrorKind::kNotFound:
    case ErrorKind::kOutOfRange: return "E0e";   // EFAULT
    case ErrorKind::kNoSpace: return "E1c";      // ENOSPC
    case ErrorKind::kBusy: return "E10";         // EBUSY
    case ErrorKind::kUnsupported: return "E5f";  // EOPNOTSUPP
    default: return "E05";                       // EIO
  }
}

std::string_view activity_text(x86::MpState activity) {
  switch (activity) {
    case x86::MpState::kHalted: return "halted";
    case x86::MpState::kUninitialized: return "waiting for INIT";
    case x86::MpState::kInitReceived: return "waiting for SIPI";
    case x86::MpState::kRunnable:
    case x86::MpState::kSipiReceived: break;
  }
  return "running";
}

}  // namespace

/// Longer names before those that they begin with.
std::span<const Session::Command> Session::commands() {
  static constexpr Command kCommands[] = {
      {"qSupported", &Session::supported},
      {"QStartNoAckMode", &Session::no_acknowledgements},
      {"qXfer:features:read:", &Session::features},
      {"qfThreadInfo", &Session::first_threads},
      {"qsThreadInfo", &Session::more_threads},
      {"qThreadExtraInfo,", &Session::thread_info},
      {"qAttached", &Session::attached},
      {"qRcmd,", &Session::monitor_command},
      {"qqemu.PhyMemMode", &Session::physical_mode},
      {"Qqemu.PhyMemMode:", &Session::set_physical_mode},
      {"qqemu.Supported", &Session::qemu_supported},
      {"qC", &Session::current_thread},
      {"vCont?", &Session::vcont_offer},
      {"vCont;", &Session::vcont},
      {"vKill;", &Session::kill_politely},
      {"?", &Session::why_stopped},
      {"!", &Session::extended_mode},
      {"c", &Session::resume_current},
      {"C", &Session::resume_with_signal},
      {"D", &Session::detach},
      {"g", &Session::read_all_registers},
      {"G", &Session::write_all_registers},
      {"H", &Session::select_thread},
      {"k", &Session::kill},
      {"m", &Session::read_memory},
      {"M", &Session::write_memory},
      {"p", &Session::read_one_register},
      {"P", &Session::write_one_register},
      {"R", &Session::restart},
      {"s", &Session::step_current},
      {"S", &Session::step_with_signal},
      {"T", &Session::is_thread_alive},
      {"X", &Session::write_binary_memory},
      {"z", &Session::remove_breakpoint},
      {"Z", &Session::set_breakpoint},
  };
  return kCommands;
}

Session::Session(DebugTarget& target, Outlet outlet, Logger log)
    : target_(target),
      outlet_(std::move(outlet)),
      log_(std::move(log)),
      registers_(target.has_avx()),
      description_(registers_),
      control_(target, [this](const Stop& stop) { stopped(stop); }),
      monitor_(target, control_.breakpoints()) {}

void Session::opened() {
  cpu_ = 0;
  resumed_cpu_.reset();
  physical_ = client_knows_swbreak_ = client_knows_hwbreak_ = false;
  control_.attach();
}

void Session::closed() {
  control_.detach(false);
}

void Session::packet(std::string_view payload) {
  if (auto reply = answer(payload)) outlet_.send(*reply);
}

void Session::interrupt() {
  control_.interrupt();
}

void Session::ending(int status) {
  outlet_.send(fmt::format("W{:02x}", status & 0xff));
}

/// An empty reply means: not supported.
Session::Reply Session::answer(std::string_view payload) {
  for (const Command& command : commands()) {
    if (!payload.starts_with(command.name)) continue;
    return (this->*command.handle)(Arguments(payload.substr(command.name.size())));
  }
  return "";
}

void Session::print(std::string_view text) {
  constexpr std::size_t kPiece = kMaxPacket / 2 - 8;
  for (; !text.empty(); text.remove_prefix(std::min(kPiece, text.size())))
    outlet_.send("O" + to_hex(text.substr(0, kPiece)));
}

// ---- Going and stopping

std::string Session::stop_reply(const Stop& stop) const {
  std::string reply = fmt::format("T{:02x}", static_cast<unsigned>(stop.signal));
  if (stop.hit) {
    switch (stop.hit->kind) {
      case BreakKind::kSoftware: reply += client_knows_swbreak_ ? "swbreak:;" : ""; break;
      case BreakKind::kHardware: reply += client_knows_hwbreak_ ? "hwbreak:;" : ""; break;
      case BreakKind::kWrite: reply += fmt::format("watch:{:x};", stop.hit->address); break;
      case BreakKind::kRead: reply += fmt::format("rwatch:{:x};", stop.hit->address); break;
      case BreakKind::kAccess: reply += fmt::format("awatch:{:x};", stop.hit->address); break;
    }
  }
  return reply + fmt::format("thread:{:02x};", stop.cpu + 1);
}

void Session::stopped(const Stop& stop) {
  cpu_ = stop.cpu;
  print(stop.message);
  outlet_.send(stop_reply(stop));
}

Session::Reply Session::why_stopped(Arguments /*arguments*/) {
  return stop_reply(control_.last_stop());
}

/// The client waits for a stop now: what keeps the machine from going is told as another stop, with the reason.
Session::Reply Session::go(const std::vector<CpuRun>& plan) {
  const auto gone = control_.go(plan);
  if (gone || gone.error().kind() == ErrorKind::kBusy) return std::nullopt;
  print(gone.error().describe() + "\n");
  return stop_reply(control_.last_stop());
}

/// The optional address of c and s.
Result<> Session::move_pc(Arguments& arguments) {
  if (arguments.empty()) return {};
  const auto address = arguments.take_number();
  if (!address || !arguments.empty()) return fail(ErrorKind::kInvalidArgument, "no address");
  DOPPEL_ASSIGN(x86::CpuState state, target_.read_state(cpu_, x86::StateParts::kRegisters));
  state.rip = *address;
  return target_.write_state(cpu_, state, x86::StateParts::kRegisters);
}

Session::Reply Session::resume_at(Arguments arguments, CpuRun how) {
  if (const auto moved = move_pc(arguments); !moved) return error_reply(moved.error());
  const bool all = how == CpuRun::kRun && !resumed_cpu_;
  std::vector plan(target_.cpu_count(), all ? CpuRun::kRun : CpuRun::kStay);
  plan[resumed_cpu_.value_or(cpu_)] = how;
  return go(plan);
}

Session::Reply Session::resume_current(Arguments arguments) {
  return resume_at(arguments, CpuRun::kRun);
}

Session::Reply Session::step_current(Arguments arguments) {
  return resume_at(arguments, CpuRun::kStep);
}

/// A processor takes no signals: C and S are c and s with a number before the address.
Session::Reply Session::resume_with_signal(Arguments arguments) {
  arguments.take_until(';');
  return resume_at(arguments, CpuRun::kRun);
}

Session::Reply Session::step_with_signal(Arguments arguments) {
  arguments.take_until(';');
  return resume_at(arguments, CpuRun::kStep);
}

Session::Reply Session::vcont_offer(Arguments /*arguments*/) {
  return "vCont;c;C;s;S;t";
}

/// Of several actions the leftmost that names a thread counts; a thread that none names stays.
Session::Reply Session::vcont(Arguments arguments) {
  std::vector<std::optional<CpuRun>> chosen(target_.cpu_count());
  while (!arguments.empty()) {
    Arguments action(arguments.take_until(';'));
    CpuRun how = CpuRun::kStay;
    if (action.take('c') || action.take('C'))
      how = CpuRun::kRun;
    else if (action.take('s') || action.take('S'))
      how = CpuRun::kStep;
    else if (!action.take('t'))
      return std::string(kBadArgument);
    action.take_until(':');
    const bool all = action.empty() || action.take("-1") || action.rest() == "0";
    const auto cpu = all ? std::nullopt : take_cpu(action);
    if (!all && !cpu) return std::string(kBadArgument);
    for (unsigned i = 0; i < chosen.size(); ++i)
      if (all || i == *cpu) chosen[i] = chosen[i].value_or(how);
  }
  std::vector<CpuRun> plan;
  for (const auto& how : chosen) plan.push_back(how.value_or(CpuRun::kStay));
  if (std::ranges::count(plan, CpuRun::kStay) == std::ssize(plan)) return stop_reply(control_.last_stop());
  return go(plan);
}

Session::Reply Session::detach(Arguments /*arguments*/) {
  control_.detach(true);
  return "OK";
}

Session::Reply Session::kill(Arguments /*arguments*/) {
  log_.info("ended by gdb");
  target_.quit();
  return std::nullopt;
}

Session::Reply Session::kill_politely(Arguments arguments) {
  kill(arguments);
  return "OK";
}

Session::Reply Session::restart(Arguments /*arguments*/) {
  target_.reset();
  return std::nullopt;
}

/// "type,address,kind"; what may follow ";" (conditions) is not offered.
Session::Reply Session::set_breakpoint(Arguments arguments) {
  const auto kind = arguments.take_number();
  const auto address = arguments.take(',') ? arguments.take_number() : std::nullopt;
  const auto length = arguments.take(',') ? arguments.take_number() : std::nullopt;
  if (!kind || !address || !length) return std::string(kBadArgument);
  if (*kind > static_cast<unsigned>(BreakKind::kAccess)) return "";
  return break_reply(control_.breakpoints().insert(static_cast<BreakKind>(*kind), *address, *length, cpu_));
}

Session::Reply Session::remove_breakpoint(Arguments arguments) {
  const auto kind = arguments.take_number();
  const auto address = arguments.take(',') ? arguments.take_number() : std::nullopt;
  const auto length = arguments.take(',') ? arguments.take_number() : std::nullopt;
  if (!kind || !address || !length) return std::string(kBadArgument);
  if (*kind > static_cast<unsigned>(BreakKind::kAccess)) return "";
  return break_reply(control_.breakpoints().remove(static_cast<BreakKind>(*kind), *address, *length));
}

/// gdb does something else where a kind is not supported, and shows the text otherwise.
Session::Reply Session::break_reply(const Result<>& done) const {
  if (done) return "OK";
  log_.warn("breakpoint: {}", done.error().describe());
  return "E." + done.error().describe();
}

// ---- Threads

/// gdb counts from 1.
std::optional<unsigned> Session::take_cpu(Arguments& arguments) const {
  const auto id = arguments.take_number();
  if (!id || *id == 0 || *id > target_.cpu_count()) return std::nullopt;
  return static_cast<unsigned>(*id - 1);
}

/// "g" or "c", then a thread, 0 for any or -1 for all.
Session::Reply Session::select_thread(Arguments arguments) {
  const bool for_running = arguments.take('c');
  if (!for_running && !arguments.take('g')) return std::string(kBadArgument);
  if (arguments.rest() == "0" || arguments.rest() == "-1") {
    if (for_running) resumed_cpu_.reset();
    return "OK";
  }
  const auto cpu = take_cpu(arguments);
  if (!cpu) return std::string(kBadArgument);
  if (for_running)
    resumed_cpu_ = cpu;
  else
    cpu_ = *cpu;
  return "OK";
}

Session::Reply Session::is_thread_alive(Arguments arguments) {
  return take_cpu(arguments) ? "OK" : std::string(kBadArgument);
}

Session::Reply Session::current_thread(Arguments /*arguments*/) {
  return fmt::format("QC{:02x}", cpu_ + 1);
}

/// All CPUs fit into one packet.
Session::Reply Session::first_threads(Arguments /*arguments*/) {
  std::string reply;
  for (unsigned cpu = 0; cpu < target_.cpu_count(); ++cpu)
    reply += fmt::format("{}{:02x}", reply.empty() ? 'm' : ',', cpu + 1);
  return reply;
}

Session::Reply Session::more_threads(Arguments /*arguments*/) {
  return "l";
}

Session::Reply Session::thread_info(Arguments arguments) {
  const auto cpu = take_cpu(arguments);
  if (!cpu) return std::string(kBadArgument);
  const auto state = target_.read_state(*cpu, x86::StateParts::kMpState);
  return to_hex(fmt::format("CPU#{} [{}]", *cpu, state ? activity_text(state->mp_state) : "unknown"));
}

// ---- What both sides can do

Session::Reply Session::supported(Arguments arguments) {
  arguments.take(':');
  while (!arguments.empty()) {
    const std::string_view feature = arguments.take_until(';');
    client_knows_swbreak_ |= feature == "swbreak+";
    client_knows_hwbreak_ |= feature == "hwbreak+";
  }
  return fmt::format("PacketSize={:x};QStartNoAckMode+;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+",
                     kMaxPacket);
}

/// "annex:offset,length".
Session::Reply Session::features(Arguments arguments) {
  const std::string* document = description_.find(arguments.take_until(':'));
  const auto offset = arguments.take_number();
  const auto length = arguments.take(',') ? arguments.take_number() : std::nullopt;
  if (document == nullptr) return "E00";
  if (!offset || !length || *offset > document->size()) return std::string(kBadArgument);
  constexpr std::uint64_t kPiece = kMaxPacket / 2 - 8;  // escaped, it may double
  const std::string piece = document->substr(*offset, std::min(*length, kPiece));
  return (*offset + piece.size() < document->size() ? "m" : "l") + piece;
}

/// 1: the machine was there before gdb, which therefore leaves it behind when it quits.
Session::Reply Session::attached(Arguments /*arguments*/) {
  return "1";
}

Session::Reply Session::qemu_supported(Arguments /*arguments*/) {
  return "PhyMemMode";
}

Session::Reply Session::no_acknowledgements(Arguments /*arguments*/) {
  outlet_.send("OK");
  outlet_.stop_acknowledging();
  return std::nullopt;
}

Session::Reply Session::extended_mode(Arguments /*arguments*/) {
  return "OK";
}

Session::Reply Session::monitor_command(Arguments arguments) {
  const auto line = from_hex(arguments.rest());
  if (!line) return std::string(kBadArgument);
  std::string text(line->size(), '\0');
  std::ranges::transform(*line, text.begin(), [](std::byte byte) { return static_cast<char>(byte); });
  print(monitor_.execute(text, cpu_));
  return "OK";
}

}  // namespace doppel::gdbstub
