# frozen_string_literal: true

class Campaign
  # 100,000 predictions of a photo by 8 permanent threads, as in a web server: neither process grows.
  module Memory
    TENTHS = 10
    SAMPLES = 20 # of a tenth
    THREADS = 8
    # Allowed growth from the second tenth to the last: the first one fills buffers.
    GROWTH = 0.02

    private

    # Counts failures, and processes that have grown.
    def memory(times)
      in_home do |photos, model|
        # The worker that has trained would predict as well, with the memory that the training has left.
        Transfer.shutdown
        ENV.delete("MALLOC_ARENA_MAX") # it is for this process alone
        bytes = Dir[File.join(photos, "*/*.png")].map { |file| File.binread(file) }
        asked, answered = crowd { |i| model.predict(bytes[i % bytes.size]) }
        means = Array.new(TENTHS) do |tenth|
          samples = Array.new(SAMPLES) { sample(times / TENTHS / SAMPLES, asked, answered) }
          mean(samples).tap { |sizes| say(tenth, sizes) }
        end
        asked.close
        judge(means[1], means.last)
        count("predictions", times)
      end
    end

    # @yieldparam number [Integer]
    # @return [Array<Queue>] for numbers, and for the results of the block
    def crowd
      asked = Queue.new
      answered = Queue.new
      THREADS.times do
        Thread.new do
          while (number = asked.pop)
            answered << yield(number)
          end
        end
      end
      [asked, answered]
    end

    # @return [Hash{String => Integer}] bytes of both processes after that number of predictions
    def sample(times, asked, answered)
      times.times { |number| asked << number }
      times.times { count("failed") unless answered.pop(timeout: TIMEOUT_S) }
      # Ruby collects old objects once in 80,000 calls: garbage is not growth.
      GC.start
      worker = Transfer.stats.dig(:workers, :serve, :processes, 0, :pid)
      pids = { "Ruby" => Process.pid, "the worker" => worker }
      pids.transform_values { |pid| bridge::WorkerProcess.resident_memory(pid) }
    end

    def mean(samples) = samples.first.to_h { |name, _| [name, samples.sum { |sizes| sizes[name] } / samples.size.to_f] }

    def say(tenth, sizes)
      puts "memory: tenth #{tenth + 1}, #{sizes.map { |name, size| format('%s %.1f MB', name, size / 1e6) }.join(', ')}"
    end

    def judge(before, after)
      before.each do |name, size|
        growth = (after[name] / size) - 1
        puts format("memory: %s has grown by %.2f %% from the second tenth to the last", name, growth * 100)
        count("grown") if growth > GROWTH
      end
    end
  end
end
