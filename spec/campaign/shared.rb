# frozen_string_literal: true

class Campaign
  # A shared worker with many clients.
  module Shared
    CLIENTS = 6
    # A flag in /proc/net/unix.
    LISTENS = "00010000"

    private

    # Processes that call without a pause; one of them is killed, or the worker is killed or terminated, or receives
    # invalid bytes. There is never more than one listening worker.
    def shared(times)
      Dir.mktmpdir do |root|
        @folder = File.join(root, "shared")
        clients = Array.new(CLIENTS) { client }
        times.times do
          sleep @random.rand(0.05..0.3)
          disturb(clients)
          count("wrong") if listening > 1
        end
        clients.each(&:stop)
        orphans(Sharing.workers(@folder))
        count("orphaned", Dir.children(@folder).size)
      end
    end

    def disturb(clients)
      case @random.rand(12)
      when 0 then count("workers killed", Sharing.workers(@folder).each { |pid| kill(pid) }.size)
      when 1 then count("workers told to end", Sharing.workers(@folder).each { |pid| kill(pid, :TERM) }.size)
      when 2..5 then intruders
      else
        index = @random.rand(CLIENTS)
        clients[index].kill
        count("clients killed")
        clients[index] = client
      end
    end

    def listening
      File.readlines("/proc/net/unix").count { |line| line.include?(@folder) && line.split[3] == LISTENS }
    end

    def client = Sharer.new(@folder, ->(tally) { tally.each { |what, number| count(what, number) } })

    def intruders
      fuzz = @fuzz ||= Fuzz.new(seed: 3)
      socket = bridge::SharedWorker::Endpoint.new(@folder, "spec").connect or return
      count("intruders")
      socket.write(Array.new(5) { fuzz.frame }.join)
    rescue SystemCallError # the worker has disconnected first
      nil
    ensure
      socket&.close
    end

    # A process that calls until it is stopped, and prints the outcomes.
    class Sharer
      def initialize(folder, tell)
        @folder = folder
        @tell = tell
        @told, telling = IO.pipe
        @pid = fork { work(telling) }
        telling.close
        @reader = Thread.new { @told.each_line(chomp: true).tally }
      end

      def kill = end_with(:KILL)

      def stop = end_with(:TERM)

      private

      def end_with(signal)
        Process.kill(signal, @pid)
        @tell.call({ "hung" => 1 }) unless @reader.join(TIMEOUT_S)
        Process.kill(:KILL, @pid)
        Process.wait(@pid)
        @tell.call(@reader.value)
        @told.close
      end

      def work(telling)
        telling.sync = true
        going = true
        trap(:TERM) { going = false }
        Sharing.use(@folder, idle_stop: 1)
        number = 0
        telling.puts(ended(number += 1)) while going
        Transfer.shutdown
      ensure
        exit!(0)
      end

      def ended(number)
        own = number.odd? ? own_words?(number) : own_numbers?(40_000 + number)
        own ? "answered" : "wrong"
      rescue Transfer::WorkerCrashed
        "crashed"
      rescue Transfer::Cancelled
        "cancelled"
      rescue Transfer::TimeoutError
        "hung"
      rescue StandardError => error
        warn error.full_message
        "unexpected"
      end

      def own_words?(number)
        value = [Process.pid, number]
        Sharing.bridge.call("echo", { "value" => value }) == value
      end

      # Sent through shared memory.
      def own_numbers?(count)
        Sharing.bridge.call("count_up", { "count" => count }).to_a.values_at(0, -1) == [0, count - 1]
      end
    end
    private_constant :Sharer
  end
end
