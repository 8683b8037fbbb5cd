#include "cli/options_iothread.h"

#include <algorithm>

#include "cli/options.h"

namespace doppel::cli {

namespace {

/// What tunes a way of waiting that this one does not have: only the value that asks for nothing is right.
struct ZeroProperty {
  std::string_view name;
  std::string_view description;
  std::string_view instead;  // why another value is refused
};
constexpr ZeroProperty kZeroProperties[] = {
    {"aio-max-batch", "requests handed to the host at once; 0: as many as there are", "what is there goes together"},
    {"poll-grow", "how polling grows; 0: there is none", "the thread does not poll"},
    {"poll-max-ns", "how long to poll before sleeping; 0: not at all", "the thread sleeps when there is no work"},
    {"poll-shrink", "how polling shrinks; 0: there is none", "the thread does not poll"},
    {"thread-pool-min", "helpers that wait for work; 0: they start when there is some", "helpers start with the work"},
};

std::string help() {
  std::vector<hw::PropertyInfo> rows;
  for (const ZeroProperty& property : kZeroProperties)
    rows.push_back({property.name, "int", property.description, "0"});
  rows.push_back({"thread-pool-max", "int", "helpers for host calls that block, at most", "4"});
  return property_list(kIoThreadType, rows);
}

}  // namespace

bool is_iothread(const KeyValueReader& reader) {
  return reader.peek("qom-type") == kIoThreadType;
}

Result<> check_object_id(const vm::VmConfig& config, std::string_view id) {
  DOPPEL_TRY(check_id(id));
  const auto taken = [id](const auto& list) {
    return std::ranges::any_of(list, [id](const auto& object) { return object.id == id; });
  };
  if (taken(config.memory_backends) || taken(config.block_objects) || taken(config.iothreads))
    return fail(ErrorKind::kAlreadyExists, "the id '{}' is taken by another object", id);
  return {};
}

Result<> add_iothread(CommandLine& line, KeyValueReader& reader) {
  (void)reader.take("qom-type");
  if (reader.take_help()) return print(line, help());
  vm::IoThreadConfig thread;
  reader.text("id", thread.id);
  if (thread.id.empty()) return fail(ErrorKind::kInvalidArgument, "id= is missing, such as id=io0");
  DOPPEL_TRY(check_object_id(line.vm, thread.id));
  for (const ZeroProperty& property : kZeroProperties) {
    std::uint64_t value = 0;
    DOPPEL_TRY(reader.number(property.name, value));
    if (value != 0)
      return fail(ErrorKind::kUnsupported, "{}={}: {}; write {}=0 or leave it away", property.name, value,
                  property.instead, property.name);
  }
  constexpr unsigned kMostWorkers = 1024;
  DOPPEL_TRY(reader.number("thread-pool-max", thread.workers, 1U));
  if (thread.workers > kMostWorkers)
    return fail(ErrorKind::kOutOfRange, "thread-pool-max={}: there are at most {} helpers", thread.workers,
                kMostWorkers);
  DOPPEL_TRY(reader.finish());
  line.vm.iothreads.push_back(std::move(thread));
  return {};
}

}  // namespace doppel::cli
