# frozen_string_literal: true

# The program of bin/campaign: processes that are killed and disturbed at random, with a fixed seed.

ENV["TRANSFER_PYTHON"] ||= File.expand_path("../../.venv/bin/python", __dir__)
ENV["TRANSFER_QUIET"] = "1"

require "rspec/core"
require "rspec/expectations"
require "transfer"
require "timeout"
require "tmpdir"
%w[leaks photos workers fuzz sharing].each { |name| require_relative "../support/#{name}" }
%w[frames processes kills shared memory].each { |name| require_relative name }

# Counts outcomes, some of which are failures. A campaign is a method; its name is the argument of bin/campaign, with an
# optional number of repetitions: `kills=50`.
class Campaign
  # Workers registers a hook with RSpec.
  def self.after(*) = nil
  include Workers
  include Photos
  include Frames
  include Processes
  include Kills
  include Shared
  include Memory

  ALL = { "cycles" => 300, "fuzz" => 100_000, "invalid" => 200, "interrupts" => 4000, "forks" => 200, "floods" => 2000,
          "kills" => 200, "shared" => 300, "memory" => 100_000 }.freeze
  FAILURES = %w[hung orphaned lost wrong unexpected].freeze
  TIMEOUT_S = 120

  # @param arguments [Array<String>]
  def run(arguments)
    chosen = arguments.empty? ? ALL : arguments.to_h { |argument| times(*argument.split("=")) }
    failed = chosen.reject { |name, times| clean?(name, times) }
    abort "failed: #{failed.keys.join(', ')}" if failed.any?
  end

  private

  def times(name, count = nil)
    abort "no campaign #{name} (one of: #{ALL.keys.join(', ')})" unless ALL.key?(name)
    [name, count ? Integer(count) : ALL.fetch(name)]
  end

  def clean?(name, times)
    @random = Random.new(1)
    @counts = Hash.new(0)
    started = Leaks.now
    send(name, times)
    orphans(Leaks.children)
    counted = [*@counts.sort, *(FAILURES - @counts.keys).map { |what| [what, 0] }]
    puts "#{name}, #{(Leaks.now - started).round} s: #{counted.map { |what, count| "#{count} #{what}" }.join(', ')}"
    @counts.values_at(*FAILURES, "failed", "grown").sum.zero?
  end

  def count(what, number = 1) = @lock.synchronize { @counts[what.to_s] += number }

  def initialize
    @lock = Mutex.new
  end

  # Counts the outcome of a call.
  # @yieldreturn [Boolean] whether the result is correct
  # @return [String]
  def outcome(...)
    ending(...).tap { |what| count(what) }
  end

  # @param signals [Array<Symbol>, nil] signals that the worker is killed with
  def ending(signals = nil)
    yield ? "answered" : "wrong"
  rescue Transfer::WorkerCrashed => error
    return "crashed" if signals.nil? || signals.include?(error.signal&.delete_prefix("SIG")&.to_sym)

    unexpected(error)
  rescue Transfer::TimeoutError
    "hung"
  rescue Transfer::ProtocolError
    "refused"
  rescue StandardError => error
    unexpected(error)
  end

  def unexpected(error)
    warn error.full_message
    "unexpected"
  end

  # Waits for threads; those that don't end are counted as hung.
  def join(threads)
    limit = Leaks.now + TIMEOUT_S
    count("hung", threads.reject { |thread| thread.join([limit - Leaks.now, 0].max) }.size)
  end

  # Counts and kills processes that don't end.
  def orphans(pids)
    left = pids.reject { |pid| eventually { gone?(pid) } }
    count("orphaned", left.size)
    left.each { |pid| kill(pid) }
  end

  def kill(pid, signal = :KILL)
    Process.kill(signal, pid) if pid
  rescue Errno::ESRCH
    nil
  end
end

$stdout.sync = true
Campaign.new.run(ARGV)
