# frozen_string_literal: true

class Campaign
  # Training and prediction with the real core, which is killed.
  module Kills
    SIGNALS = %i[KILL SEGV].freeze
    WORDS = { backbone: "mobilenet_v2", epochs: 3, optimizer: :adam }.freeze

    private

    # The worker is killed at random moments, from before its start to after its response. A call returns its result or
    # raises WorkerCrashed; a training that had begun can be resumed.
    def kills(times)
      in_home do |photos, model|
        ways = { train: -> { training(photos) }, predict: -> { red?(model) } }
        seconds = ways.transform_values { |way| cold(way) }
        times.times do
          name = ways.keys.sample(random: @random)
          killed_during(name, ways[name], seconds[name] * @random.rand(1.1))
        end
        sleep 0.1 # the last kill is noticed
        count("lost") unless red?(model)
        resume_all
      end
    end

    # 32 threads predict, embed and describe.
    def floods(times)
      in_home do |photos, model|
        expected = model.predict(red(photos)).score
        join(Array.new(32) do |i|
          Thread.new { (times / 32).times { |n| outcome { flooded(model, photos, expected, i + n) } } }
        end)
      end
    end

    def in_home
      Dir.mktmpdir do |folder|
        Transfer.config.home = File.join(folder, "home")
        @photos = photo_folder(File.join(folder, "photos"))
        yield @photos, Transfer.train(data: @photos, **WORDS)
      ensure
        Transfer.shutdown
      end
    end

    def red(photos) = File.join(photos, "red", "0.png")

    def red?(model) = model.predict([red(@photos)] * 30).all? { |prediction| prediction.label == "red" }

    def flooded(model, photos, expected, turn)
      case turn % 3
      when 0 then (model.predict(red(photos)).score - expected).abs < 1e-3
      when 1 then model.embed([red(photos)] * 4).map(&:size) == [1280] * 4
      when 2 then Transfer.load(model.path).labels == model.labels
      end
    end

    def training(photos)
      job = Transfer.train_async(data: photos, **WORDS)
      (@runs ||= []) << job
      job.value.labels.size == 3
    end

    # Seconds of a call that starts its worker.
    def cold(way)
      Transfer.shutdown
      started = Leaks.now
      way.call
      Leaks.now - started
    end

    def killed_during(name, way, seconds)
      signal = SIGNALS.sample(random: @random)
      thread = Thread.new { count("#{name} #{how(ending(SIGNALS) { way.call })}") }
      sleep seconds
      killed = Leaks.children.each { |pid| kill(pid, signal) }
      join([thread])
      orphans(killed)
    end

    def how(ended) = FAILURES.include?(ended) ? count(ended) && ended : ended

    # No training that had begun is lost. Resumes five of them.
    def resume_all
      begun = @runs.filter_map { |job| job.run_id if error_of { job.value } }
      resumable = Transfer.resumable.map(&:id)
      finished = begun.select { |run| File.exist?(File.join(Transfer.config.home, "runs", run, "model.transfer")) }
      count("trainings to resume", resumable.size)
      count("lost", (begun - resumable - finished).size)
      resumable.sample(5, random: @random).each { |run| outcome { Transfer.resume(run).labels.size == 3 } }
    end
  end
end
