// The signals that ask a program to end.
#pragma once

#include <array>
#include <csignal>

namespace doppel {

inline constexpr std::array kEndSignals{SIGINT, SIGTERM, SIGHUP};

/// The calling thread, the last that there is, takes none of them any more: of a program that has closed all and is
/// about to report how it went, their default action would make a failure.
void block_end_signals();

}  // namespace doppel
