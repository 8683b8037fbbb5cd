// `-object iothread`.
#pragma once

#include <string_view>

#include "cli/command_line.h"
#include "cli/key_values.h"

namespace doppel::cli {

inline constexpr std::string_view kIoThreadType = "iothread";

bool is_iothread(const KeyValueReader& reader);
Result<> add_iothread(CommandLine& line, KeyValueReader& reader);

/// Objects of all types share their ids.
Result<> check_object_id(const vm::VmConfig& config, std::string_view id);

}  // namespace doppel::cli
