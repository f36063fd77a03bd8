# frozen_string_literal: true

# Processes that implement the protocol, some of them incorrectly.
module Workers
  FOLDER = File.join(__dir__, "workers")
  PYTHON = ENV.fetch("TRANSFER_PYTHON")

  def launch(worker = "echo", *arguments, idle_stop: nil, limits: {}, **settings)
    bridge::LaunchOptions.new(
      command: [PYTHON, File.join(FOLDER, "#{worker}.py"), *arguments.map(&:to_s)], startup_timeout: 20,
      limits: bridge::LaunchOptions::Limits.new(idle_stop:, **limits), **settings
    )
  end

  # A worker that is stopped after the example.
  def worker(...)
    launched = launch(...)
    bridge::Pool::Worker.new { launched }.tap { |worker| (@workers ||= []) << worker }
  end

  # A pool that `Transfer` uses until the end of the example.
  def backend(...)
    launched = launch(...)
    bridge::Pool.new { launched }.tap { |backend| bridge.replace(backend) }
  end

  def bridge = Transfer.const_get(:Bridge)

  def gone?(pid)
    Process.kill(0, pid)
    File.read("/proc/#{pid}/stat").split[2] == "Z"
  rescue Errno::ESRCH, Errno::ENOENT
    true
  end

  # Suspends all of its threads, and waits for that.
  def suspend(pid)
    Process.kill(:STOP, pid)
    threads = Dir["/proc/#{pid}/task/*/stat"]
    eventually { threads.all? { |stat| File.read(stat)[/\) (\w)/, 1] == "T" } }
  end

  def eventually(seconds = 5)
    limit = Leaks.now + seconds
    sleep 0.01 until (found = yield) || Leaks.now > limit
    found
  end

  def error_of
    yield
    nil
  rescue Transfer::Error => error
    error
  end

  def self.included(base)
    base.after { @workers&.each(&:stop) }
  end
end
