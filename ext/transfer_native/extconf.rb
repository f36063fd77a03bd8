# frozen_string_literal: true

# Builds Transfer::Native, which converts numbers faster and changes nothing else. Where it can't be built, the gem is
# installed without it, and Ruby does the same work.

require "rbconfig"

FALLBACK = "Transfer works without its native part, only slower with large arrays"

def leave_out(reason)
  warn "transfer_native is not built (#{reason}). #{FALLBACK}."
  File.write("Makefile", "all install clean static:\n\t@echo 'transfer_native is left out. #{FALLBACK}.'\n")
  exit
end

[RbConfig::CONFIG, RbConfig::MAKEFILE_CONFIG].each { |config| config["CC"] = ENV["CC"] } if ENV["CC"]

begin
  require "mkmf"
rescue LoadError, SystemExit # mkmf aborts without Ruby's headers
  leave_out "Ruby's headers are missing; Debian has them in ruby-dev"
end

begin
  compiler = try_compile("int main(void) { return 0; }")
rescue RuntimeError # mkmf's error for a compiler that does not work
  compiler = false
end
leave_out "there is no working C compiler" unless compiler
leave_out "this machine is big-endian" unless [1].pack("S") == [1].pack("S<")
%w[ruby/memory_view.h ruby/io/buffer.h sys/mman.h].each do |header|
  leave_out "#{header} is missing" unless have_header(header)
end

have_func("memfd_create", "sys/mman.h")
$warnflags = "-Wall -Wextra -Wno-unused-parameter" # rubocop:disable Style/GlobalVars
create_makefile("transfer/transfer_native")
