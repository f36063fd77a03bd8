# frozen_string_literal: true

RSpec.describe "Going on with a training" do
  before { backend("core") }

  it "gives the model" do
    model = Transfer.resume("r1")
    expect(model.recipe).to eq({ backbone: "b", run: "r1", trust: false })
  end

  it "takes a run or a job for its id, and the data anew" do
    job = Transfer.train_async(backbone: "endless", data: "p")
    eventually { job.run_id }
    job.cancel.wait
    runs = [job, Transfer.resumable.first, "r1", :r1]
    expect(runs.map { |run| Transfer.resume(run).recipe[:run] }).to eq(["r1"] * 4)
    expect(Transfer.resumable.first.resume(data: "q").recipe).to include(run: "r1", data: File.absolute_path("q"))
  end

  it "takes a path, which means the same in the worker, and trust" do
    expect(Transfer.resume("r1", trust: true).recipe).to include(trust: true)
    { "./r9" => "r9", Pathname("../../r9") => "../../r9" }.each do |given, meant|
      expect { Transfer.resume(given, trust: true) }
        .to raise_error(Transfer::ConfigurationError, %(there is no run "#{File.absolute_path(meant)}"))
    end
  end

  it "pulls rows, whose fields may have other names" do
    rows = Array.new(7) { |i| { file: "/#{i}.jpg", kind: "a" } }
    counts = []
    Transfer.resume("r1", data: rows, columns: { input: "file", target: "kind" }) do |recipe|
      recipe.on(:progress) { |event| counts << event.done }
    end
    expect(counts).to eq([3, 3])
  end

  it "tells listeners, and goes on with the history" do
    heard = []
    job = Transfer.resume_async("r1") do |recipe|
      recipe.on(:run) { |event| heard << event }
      recipe.on(:epoch) { |event| heard << event.number }
    end
    job.value
    expect(heard).to eq([Transfer::Event::Run.new("r1", "/runs/r1", [{ step: "train", epoch: 1, loss: 0.5 }]), 2])
    expect(job.history).to eq([{ step: "train", epoch: 1, loss: 0.5 }, { step: "train", epoch: 2, loss: 0.25 }])
    expect(job.metrics).to eq({ loss: 0.25 })
  end

  it "refuses what the run knows already" do
    expect { Transfer.resume("r1", epochs: 5) { seed 1 } }.to raise_error(
      ArgumentError, "a resumed run has its recipe. Fix: leave out epochs, seed"
    )
  end

  it "refuses a run that is not there" do
    expect { Transfer.resume("r9") }.to raise_error(Transfer::ConfigurationError, 'there is no run "r9"')
    job = Transfer::Job.new(Transfer::Recipe.build(backbone: "b"))
    expect { Transfer.resume(job) }.to raise_error(
      ArgumentError, "this job has no run yet, so there is nothing to resume"
    )
  end

  it "lists what waits for it" do
    old, new = Transfer.resumable
    expect(old).to have_attributes(id: "r1", path: Pathname("/runs/r1"), step: :fine_tune, epoch: 3, epochs: 5,
                                   created_at: Time.utc(2026, 3, 14, 15, 9, 26), to_s: "r1",
                                   started_at: old.created_at, used_at: Time.at(1_773_500_000.5), size: 20_100_000,
                                   backbone: "b", data: "/photos", status: :interrupted,
                                   inspect: "#<Transfer::Run r1, interrupted, fine_tune, epoch 3/5, 20.1 MB>")
    expect(old.recipe).to eq({ backbone: "b", data: { type: "path", path: "/photos" } })
    expect(new).to have_attributes(step: nil, epoch: nil, data: nil,
                                   inspect: "#<Transfer::Run r2, interrupted, 20.1 MB>")
    done = Transfer.runs.last
    expect([done.status, done.resumable?, done.saved?, new.saved?]).to eq([:finished, false, true, false])
  end

  it "removes a run, and those beyond limits" do
    run, new, = Transfer.runs
    expect(new.remove).to be(new)
    expect { run.remove }.to raise_error(Transfer::ConfigurationError, "the run r1 is being trained")
    prune = ->(**words) { Transfer::Run.prune(**words).map(&:recipe) }
    expect(prune.call).to eq([{ dry_run: false }])
    expect(prune.call(older_than: "30d", max_size: "2GB", dry_run: true)).to eq(
      [{ older_than_s: 2_592_000.0, max_bytes: 2_000_000_000, dry_run: true }]
    )
    expect(prune.call(older_than: 60, max_size: 0)).to eq([{ older_than_s: 60, max_bytes: 0, dry_run: false }])
    { older_than: ["soon", -1, :x], max_size: ["much", -1, false] }.each do |word, wrong|
      wrong.each { |value| expect { prune.call(word => value) }.to raise_error(ArgumentError, /\A#{word} is a /) }
    end
  end

  it "is named by the job and by what it raises" do
    job = Transfer.train_async(backbone: "endless", data: "p")
    eventually { job.history.size == 2 }
    expect([job.run_id, job.metrics]).to eq(["r1", { accuracy: 1.0 }])
    job.cancel
    expect { job.value }.to raise_error(Transfer::Cancelled) { |error| expect(error.run_id).to eq("r1") }
  end

  it "does not delay a prediction" do
    model = Transfer.load("/m.transfer")
    gate = Queue.new
    job = Transfer.resume_async("r1", data: Enumerator.new { gate.pop })
    expect(model.predict("a.png").label).to eq("a.png")
    expect(job.done?).to be(false)
    gate.close
    job.value
  end
end
