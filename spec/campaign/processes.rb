# frozen_string_literal: true

class Campaign
  # Starts, stops, forks and threads.
  module Processes
    private

    # Workers are started, used and stopped or killed: nothing is left behind.
    def cycles(times)
      worker.tap { |first| pid_of(first) }.stop
      before = Leaks.state
      place = worker
      times.times do |i|
        outcome { place.call("pid", {}, awaited: i.even?).value(20) }
        if i % 3 == 2
          kill(place.pid)
          sleep 0.001 while place.ready?
        else
          place.stop
          place = worker
        end
      end
      place.stop
      count("orphaned", Leaks.left_since(before).values.sum(&:size))
    end

    # 8 threads call and are interrupted at random: the others receive their own results.
    def interrupts(times)
      worker = worker()
      join(Array.new(8) do |i|
        random = Random.new(i)
        Thread.new { (times / 8).times { |n| interrupted(worker, [i, n], random.rand(0.0001..0.01)) } }
      end)
      count("lost") unless ending { pid_of(worker) } == "answered"
      worker.stop
    end

    def interrupted(worker, value, seconds)
      count(Timeout.timeout(seconds) { ask_own(worker, value) } == value ? "answered" : "wrong")
    rescue Timeout::Error
      count("interrupted")
    end

    # Like Bridge.call.
    def ask_own(worker, value)
      call = worker.call("echo", { "value" => value }, awaited: true)
      call.value(20)["value"]
    ensure
      call&.cancel
    end

    # Children are forked while 4 threads call; they call as well, and exit or are killed. All results belong to their
    # calls.
    def forks(times)
      backend
      pid = bridge.call("pid")
      going = true
      threads = Array.new(4) { |i| Thread.new { outcome { own_answer?([i, rand]) } while going } }
      times.times do |i|
        child = fork { child_that_calls(pid) }
        sleep @random.rand(0.02)
        kill(child) if i % 3 == 2
        note(Process.wait2(child).last)
      end
      going = false
      join(threads)
      count("lost") unless bridge.call("pid") == pid
      Transfer.shutdown
    end

    def own_answer?(value) = bridge.call("echo", { "value" => value })["value"] == value

    def child_that_calls(parents_worker)
      backend
      fine = bridge.call("pid") != parents_worker && own_answer?(Process.pid)
      Transfer.shutdown
      exit!(fine ? 0 : 1)
    rescue StandardError => error
      unexpected(error)
      exit!(2)
    end

    def note(status)
      return count(status.success? ? "children answered" : "wrong") if status.exited?

      count("children killed")
    end
  end
end
