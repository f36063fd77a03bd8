# frozen_string_literal: true

# 100,000 predictions, a photo each, by 8 threads: neither process grows.
module Memory
  PREDICTIONS = 100_000
  TENTHS = 10
  SAMPLES = 20 # of a tenth
  THREADS = 8
  # What the last tenth may have more than the second: the first one still fills buffers.
  GROWTH = 0.02

  # Counts what failed, and which process has grown.
  def memory(times)
    Dir.mktmpdir do |folder|
      Transfer.config.home = File.join(folder, "home")
      model = Transfer.train(backbone: "mobilenet_v2", data: photo_folder(File.join(folder, "photos")))
      photos = Dir[File.join(folder, "photos/*/*.png")].map { |file| File.binread(file) }
      # The worker that has trained would predict as well, in what memory the training has left.
      Transfer.shutdown
      sizes = Array.new(TENTHS) { |tenth| predict_and_sample(model, photos, tenth, times / TENTHS) }
      judge(sizes)
      count("predictions", times)
      Transfer.shutdown
    end
  end

  private

  # @return [Hash{String => Float}] the mean of both processes' bytes
  def predict_and_sample(model, photos, tenth, times)
    samples = Array.new(SAMPLES) do
      crowd(times / SAMPLES) { |i| count("failed") unless model.predict(photos[i % photos.size]) }
      both
    end
    mean = samples.first.keys.to_h { |name| [name, samples.sum { |sample| sample[name] } / SAMPLES.to_f] }
    sizes = mean.map { |name, bytes| format("%s %.1f MB", name, bytes / 1e6) }.join(", ")
    puts "memory: #{(tenth + 1) * times} predictions, #{sizes}"
    mean
  end

  def both
    worker = Transfer.stats.dig(:workers, :serve, :processes, 0, :pid)
    { "Ruby" => Process.pid, "the worker" => worker }.transform_values do |pid|
      bridge.const_get(:Memory).resident(pid)
    end
  end

  def judge(sizes)
    sizes.first.each_key do |name|
      growth = (sizes.last[name] / sizes[1][name]) - 1
      puts format("memory: %s has grown by %.2f %% from the second tenth to the last", name, growth * 100)
      count("grown") if growth > GROWTH
    end
  end

  # Yields the numbers below `count`, from several threads.
  def crowd(count, &)
    numbers = Queue.new(count.times).close
    threads = Array.new(THREADS) { Thread.new { while (number = numbers.pop) do yield number end } }
    threads.each(&:join)
  end
end
