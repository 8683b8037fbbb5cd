// Which memory accesses of a block can share one lookup: those whose addresses differ by a small constant that is known
// beforehand. Registers are given a number each time that they change in a way that is not known; additions of
// constants are kept account of instead.
#include <algorithm>
#include <array>
#include <optional>

#include "accel/soft/translator/plan.h"

namespace doppel::accel::soft {

namespace {

// Bytes of a group: the wider, the more often it crosses a page's end.
constexpr std::int64_t kWidest = 1024;
constexpr std::int64_t kWidestPerhaps = 128;  // with members behind branches, which may never be accessed

/// An address but for a constant.
struct Key {
  std::uint32_t base = 0;  // the register's number at the time; 0: there is none
  std::uint32_t index = 0;
  std::uint8_t scale = 0;
  x86::SegmentName segment = x86::kDs;
  bool operator==(const Key&) const = default;
};

struct Access {
  Key key;
  std::int64_t offset = 0;
  std::int64_t size = 0;
  bool writes = false;
};

struct Group {
  Key key;
  std::int64_t low = 0;
  std::int64_t high = 0;
  bool writes = false;
  unsigned branches = 0;             // in front of the first member
  std::vector<std::size_t> members;  // instructions
  std::vector<std::int64_t> offsets;
};

class Grouper {
 public:
  explicit Grouper(BlockPlan& plan) : plan_(plan) {
    for (Value& value : registers_) value.number = ++last_number_;
  }

  void run() {
    for (std::size_t i = 0; i < plan_.instructions.size(); ++i) {
      const PlannedInstruction& planned = plan_.instructions[i];
      if (const auto access = access_of(planned)) add(i, *access);
      follow(planned);
      if (planned.goes_on && planned.action == Action::kJumpIf) ++branches_;
    }
    name_groups();
  }

 private:
  struct Value {
    std::uint32_t number = 0;
    std::int64_t delta = 0;  // that was added since
  };

  [[nodiscard]] std::optional<Access> access_of(const PlannedInstruction& planned) const;
  void add(std::size_t instruction, const Access& access);
  void follow(const PlannedInstruction& planned);
  void change(unsigned reg) { registers_.at(reg) = {.number = ++last_number_, .delta = 0}; }
  void name_groups();
  BlockPlan& plan_;
  std::array<Value, x86::kGprCount> registers_{};
  std::uint32_t last_number_ = 0;
  std::vector<Group> groups_;
  unsigned branches_ = 0;       // so far that may lead out of the plan
  std::size_t first_open_ = 0;  // the groups before it are closed
};

std::optional<Access> Grouper::access_of(const PlannedInstruction& planned) const {
  if (const auto stack = stack_access(planned.action, plan_.kind)) {
    const Value& value = registers_.at(stack->reg);
    return Access{.key = {.base = value.number, .segment = x86::kSs},
                  .offset = value.delta + stack->offset,
                  .size = plan_.kind.word(),
                  .writes = stack->writes};
  }
  if (planned.action != Action::kMemory) return std::nullopt;
  const Instruction& i = *planned.instruction;
  const bool adds_base = has_base(i.segment);
  if (i.address_size != plan_.kind.word() || i.base == kRipRegister) return std::nullopt;
  if (is_constant(i) && !adds_base) return std::nullopt;  // is looked up for less
  Access access{.key = {}, .offset = i.disp, .size = planned.memory_size, .writes = planned.writes_memory};
  access.key.segment = adds_base ? i.segment : x86::kSs;  // one name for all that have no base
  if (i.base != kZeroRegister) {
    const Value& base = registers_.at(i.base / 8U);
    access.key.base = base.number;
    access.offset += base.delta;
  }
  if (i.index != kZeroRegister) {
    const Value& index = registers_.at(i.index / 8U);
    access.key.index = index.number;
    access.key.scale = i.scale;
    access.offset += index.delta << i.scale;
  }
  return access;
}

void Grouper::add(std::size_t instruction, const Access& access) {
  for (std::size_t g = first_open_; g < groups_.size(); ++g) {
    Group& group = groups_[g];
    if (group.key != access.key) continue;
    const std::int64_t low = std::min(group.low, access.offset);
    const std::int64_t high = std::max(group.high, access.offset + access.size);
    const bool perhaps = group.branches != branches_;
    if (perhaps && access.writes && !group.writes) continue;  // the page need not be one that may be written to
    if (high - low > (perhaps ? std::max(kWidestPerhaps, group.high - group.low) : kWidest)) continue;
    group.low = low;
    group.high = high;
    group.writes |= access.writes;
    group.members.push_back(instruction);
    group.offsets.push_back(access.offset);
    return;
  }
  groups_.push_back({.key = access.key,
                     .low = access.offset,
                     .high = access.offset + access.size,
                     .writes = access.writes,
                     .branches = branches_,
                     .members = {instruction},
                     .offsets = {access.offset}});
}

/// What PLANNED does to registers and groups.
void Grouper::follow(const PlannedInstruction& planned) {
  switch (planned.action) {
    case Action::kInterpret:
      for (unsigned reg = 0; reg < registers_.size(); ++reg) change(reg);
      first_open_ = groups_.size();
      return;
    case Action::kSwapGs: first_open_ = groups_.size(); return;  // addends have the segment's base in them
    case Action::kCall:
    case Action::kPush:
    case Action::kPushFlags:
    case Action::kPushMemory: registers_[x86::kRsp].delta -= plan_.kind.word(); return;
    case Action::kPop: {
      const unsigned reg = planned.instruction->rm / 8U;
      registers_[x86::kRsp].delta += plan_.kind.word();
      change(reg);
      return;
    }
    case Action::kLeave:
      registers_[x86::kRsp] = {.number = registers_[x86::kRbp].number,
                               .delta = registers_[x86::kRbp].delta + plan_.kind.word()};
      change(x86::kRbp);
      return;
    default: break;
  }
  if (planned.adjustment.is_one) {
    registers_.at(planned.adjustment.reg).delta += planned.adjustment.by;
    return;
  }
  for (unsigned reg = 0; reg < registers_.size(); ++reg)
    if ((planned.written_gprs >> reg & 1U) != 0) change(reg);
}

void Grouper::name_groups() {
  std::int8_t name = 0;
  for (const Group& group : groups_) {
    if (group.members.size() < 2) continue;
    if (name == kMostGroups) return;
    for (std::size_t m = 0; m < group.members.size(); ++m)
      plan_.instructions[group.members[m]].member = {.group = name,
                                                     .leads = m == 0,
                                                     .group_writes = group.writes,
                                                     .span = static_cast<std::uint16_t>(group.high - group.low),
                                                     .low = static_cast<std::int16_t>(group.low - group.offsets[m])};
    ++name;
  }
}

}  // namespace

void group_accesses(BlockPlan& plan) {
  Grouper(plan).run();
}

}  // namespace doppel::accel::soft
