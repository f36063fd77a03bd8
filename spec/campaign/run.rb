# frozen_string_literal: true

# What bin/campaign runs. Real processes; the worker of `kills` is the real one.

ENV["TRANSFER_PYTHON"] ||= File.expand_path("../../.venv/bin/python", __dir__)
ENV["TRANSFER_QUIET"] = "1"

require "rspec/expectations"
require "transfer"
require "timeout"
require "tmpdir"
%w[leaks photos workers fuzz].each { |name| require_relative "../support/#{name}" }

# Counts what must not be. A campaign is a method; its name is the argument of bin/campaign.
class Campaign
  # Workers registers a hook with RSpec.
  def self.after(*) = nil
  include Workers
  include Photos

  ALL = %w[cycles fuzz liars interrupts kills].freeze
  PATIENCE_S = 120

  def run(names)
    names = ALL if names.empty?
    failed = names.reject do |name|
      counts = Hash.new(0)
      send(name, counts)
      puts "#{name}: #{counts.to_a.map { |what, count| "#{count} #{what}" }.join(', ')}"
      counts.values_at("hung", "orphaned", "lost", "unexpected").sum.zero?
    end
    abort "failed: #{failed.join(', ')}" if failed.any?
  end

  # 300 workers are started, used and stopped: nothing of them is left.
  def cycles(counts)
    worker = worker()
    worker.call("pid", {}).value(20)
    worker.stop
    before = Leaks.state
    300.times do |i|
      worker.call("pid", {}, awaited: i.even?).value(20)
      i % 3 == 2 ? kill(worker.pid) : worker.stop
      sleep 0.001 while worker.ready?
      counts["cycles"] += 1
    end
    worker.stop
    counts["orphaned"] += Leaks.left_since(before).values.sum(&:size)
  end

  # 100,000 frames that are nearly right.
  def fuzz(counts)
    Fuzz.new(seed: 1).run(100_000).each do |outcome, count|
      counts[outcome.is_a?(Symbol) ? outcome.to_s : "unexpected"] += count
    end
  end

  # 200 workers that answer with such frames: the call ends, and the next one works.
  def liars(counts)
    fuzz = Fuzz.new(seed: 2)
    worker = worker()
    200.times do
      params = { "bytes" => Array.new(20) { fuzz.frame }.join }
      lie = outcome { worker.call("babble", params, awaited: true).value(10) }
      counts[lie] += 1
      # Among the frames was an answer to the call: the next call meets the others.
      outcome { worker.call("pid", {}, awaited: true).value(20) } if lie == "answered"
      ended(counts) { worker.call("pid", {}, awaited: true).value(20) }
    end
    worker.stop
    counts["orphaned"] += Leaks.children.size
  end

  # 8 threads call and are interrupted at any moment: who is not gets its own answer.
  def interrupts(counts)
    worker = worker()
    threads = Array.new(8) do |i|
      Thread.new do
        random = Random.new(i)
        500.times do |n|
          echo = Timeout.timeout(random.rand(0.0001..0.01)) { ask_own(worker, [i, n]) }
          counts[echo == [i, n] ? "answered" : "lost"] += 1
        rescue Timeout::Error
          counts["interrupted"] += 1
        end
      end
    end
    counts["hung"] += threads.reject { |thread| thread.join(PATIENCE_S) }.size
    ended(counts) { worker.call("pid", {}, awaited: true).value(20) }
    worker.stop
  end

  # The real worker is killed at many moments of a training and of a prediction.
  def kills(counts)
    Dir.mktmpdir do |folder|
      Transfer.config.home = File.join(folder, "home")
      photos = photo_folder(File.join(folder, "photos"))
      train = -> { Transfer.train(backbone: "mobilenet_v2", data: photos, epochs: 3, optimizer: :adam) }
      model = train.call
      photo = File.join(photos, "red", "0.png")
      [train, -> { model.predict([photo] * 30) }].each { |call| kill_during(call, counts) }
      sleep 0.1 # the last kill is noticed
      counts["lost"] += 1 unless model.predict(photo).label == "red"
      Transfer.shutdown
      counts["orphaned"] += Leaks.children.size
    end
  end

  private

  MOMENTS = 12
  SIGNALS = %i[KILL SEGV].freeze
  private_constant :MOMENTS, :SIGNALS

  def kill_during(call, counts)
    started = Leaks.now
    call.call
    seconds = Leaks.now - started
    MOMENTS.times do |i|
      signal = SIGNALS[i % 2]
      thread = Thread.new { outcome(signal) { call.call } }
      sleep(seconds * (i + 0.5) / MOMENTS)
      killed = Leaks.children.each { |pid| kill(pid, signal) }
      counts[thread.join(PATIENCE_S) ? thread.value : "hung"] += 1
      counts["orphaned"] += 1 unless eventually { !killed.intersect?(Leaks.children) }
    end
  end

  # @return [String] how a call ended
  def outcome(signal = nil)
    yield
    "answered"
  rescue Transfer::WorkerCrashed => error
    signal.nil? || error.signal == "SIG#{signal}" ? "crashed" : "unexpected"
  rescue Transfer::TimeoutError
    "hung"
  rescue Transfer::Error => error
    error.class.name.delete_prefix("Transfer::")
  rescue StandardError => error
    warn error.full_message
    "unexpected"
  end

  def ended(counts)
    counts["lost"] += 1 unless outcome { yield } == "answered" # rubocop:disable Style/ExplicitBlockArgument
  end

  # As Bridge.call does.
  def ask_own(worker, value)
    call = worker.call("echo", { "value" => value }, awaited: true)
    call.value(20)["value"]
  ensure
    call&.cancel
  end

  def kill(pid, signal = :KILL)
    Process.kill(signal, pid) if pid
  rescue Errno::ESRCH
    nil
  end
end

$stdout.sync = true
Campaign.new.run(ARGV)
